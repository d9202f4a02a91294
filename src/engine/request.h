// What the engine is asked: a prompt in tokens and how to continue it, once. Text never gets here;
// n choices of a prompt are n requests, which share its KV blocks through the prefix cache.
//
// Invariants on submit, checked by whoever builds a request (the server, at its edge): ids are in
// [0, vocab_size); prompt and max_tokens fit max_model_len; every vector is within its bound.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/constraint.h"

namespace m2 {

using RequestId = uint64_t;  // chosen by the server, never reused
using TokenId = int32_t;

// How to draw a token. Units and order of application are vLLM's: allowed ids, bias, bad words and
// min_tokens; penalties; temperature; min_p; top_k; top_p.
struct SamplingParams {
  float temperature = 1.0f;         // 0 is greedy
  float top_p = 1.0f;               // (0, 1]
  float min_p = 0.0f;               // [0, 1]
  int32_t top_k = 0;                // 0 is off
  float repetition_penalty = 1.0f;  // over prompt and output
  float presence_penalty = 0.0f;    // over output
  float frequency_penalty = 0.0f;   // over output
  uint64_t seed = 0;                // drawn by the server when the client gave none
  std::vector<std::pair<TokenId, float>> logit_bias;
  std::vector<TokenId> allowed_token_ids;       // empty: all
  std::vector<std::vector<TokenId>> bad_words;  // token sequences that must not be completed
  int32_t num_logprobs = -1;  // -1: none; 0: the drawn token's only; n: the n best as well
  std::vector<TokenId> logprob_token_ids;
};

// When to end. Stop strings are found where text is made, which then cancels.
struct StopParams {
  int32_t max_tokens = 16;
  int32_t min_tokens = 0;
  bool ignore_eos = false;
  std::vector<TokenId> eos_token_ids;   // end tokens of the model (skipped with ignore_eos)
  std::vector<TokenId> stop_token_ids;  // of the request; always end
};

struct Request {
  RequestId id = 0;
  std::vector<TokenId> prompt;
  SamplingParams sampling;
  StopParams stop;
  int32_t priority = 0;  // lower first, under the priority policy
  uint64_t client = 0;   // whose it is (such as a hash of the API key): each gets an equal share
  std::string cache_salt;
  int32_t prompt_logprobs = -1;            // -1: none; n: the n best at every prompt position
  std::unique_ptr<Constraint> constraint;  // null: everything is allowed
};

}  // namespace m2
