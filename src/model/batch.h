// A step as the model sees it: which tokens of which sequences, and what is wanted of the logits.
// Views only: the runtime owns the arrays and keeps them until the step is done.
//
// Invariants, kept by the runtime: rows' tokens are consecutive and in order; a row's blocks cover
// context_tokens + num_tokens; ids are within the vocabulary, or kLastToken.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace m2 {

// In place of a token: the last one drawn for the row's slot. It never left the device.
inline constexpr int32_t kLastToken = -1;

// One sequence's new tokens, after `context_tokens` that are in its KV blocks.
struct BatchRow {
  int32_t slot = 0;         // which sequence state: its last token, its penalty counts
  int32_t first_token = 0;  // index into Batch::tokens
  int32_t num_tokens = 0;   // 1 is decode
  int32_t context_tokens = 0;
  std::span<const int32_t> blocks;  // KV block ids, in order of position
};

struct Batch {
  std::span<const int32_t> tokens;  // [num_tokens], of all rows one after another
  std::span<const BatchRow> rows;
};

// What is wanted of one token's logits.
struct SampleRequest {
  int32_t slot = 0;
  int32_t token_index = 0;    // index into the batch's tokens
  int32_t position = 0;       // of the token to be drawn; with the seed it fixes the draw
  bool draw = true;           // draw, and keep the result as the slot's last token
  int32_t target = -1;        // not drawn: the token whose logprob is wanted
  int32_t num_logprobs = -1;  // -1: none; n: rank and logprob of the token, and the n best

  float temperature = 1.0f, top_p = 1.0f, min_p = 0.0f;  // temperature 0 is greedy
  int32_t top_k = 0;                                     // 0 is off
  float repetition_penalty = 1.0f, presence_penalty = 0.0f, frequency_penalty = 0.0f;
  uint64_t seed = 0;

  // Tokens that joined the slot's history since its last sample; the first history_prompt of them
  // are prompt. history_reset forgets what was counted for the slot before.
  std::span<const int32_t> history;
  int32_t history_prompt = 0;
  bool history_reset = false;

  std::span<const int32_t> bias_ids;
  std::span<const float> bias_values;  // as bias_ids
  std::span<const int32_t> allowed;    // empty: all
  std::span<const int32_t> banned;
  std::span<const int32_t> logprob_ids;  // their logprobs follow the n best
  const uint32_t* mask = nullptr;        // bit i: token i may be drawn; vocab_size bits
};

struct SampledToken {
  int32_t token = -1;     // the drawn one, or the target
  int32_t rank = 0;       // 1 is the most likely by raw logits; 0 when not asked for
  float logprob = 0.0f;   // from the raw logits
  int32_t top_begin = 0;  // into SampleOutput::top_ids: the n best, then logprob_ids
  int32_t top_count = 0;
};

// Cleared and refilled each step; keeps its memory.
struct SampleOutput {
  std::vector<SampledToken> rows;  // as the requests
  std::vector<int32_t> top_ids;
  std::vector<float> top_logprobs;

  void clear() {
    rows.clear();
    top_ids.clear();
    top_logprobs.clear();
  }
};

}  // namespace m2
