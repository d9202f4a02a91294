// What the engine needs of a device: run a step, sample from it, hand back the tokens.
//
// Calls come from the engine thread only. forward() and sample() enqueue and return; plans run in
// the order given (forward k, sample k, forward k+1, …). wait() blocks for the oldest step that has
// been sampled and not yet waited for. A plan stays valid until its step was waited for.
//
// Within a step, the keys and values of all rows are stored before any row's attention reads: a row
// may read blocks that another row of the same step fills (prefix cache hits in one step).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "engine/request.h"

namespace m2 {

using Deadline = std::chrono::steady_clock::time_point;

// Sizes that the engine plans with; constant after start-up.
struct Capacity {
  int32_t num_blocks = 0;        // KV blocks, ids 0 … num_blocks-1
  int32_t block_tokens = 16;     // tokens a KV block
  int32_t max_step_tokens = 0;   // rows of all sequences together, a step
  int32_t max_sequences = 0;     // slots: sequences that run at once, and rows of a step
  int32_t max_sample_rows = 0;   // rows of a SamplePlan
  int32_t max_model_tokens = 0;  // longest sequence, prompt and output
  int32_t vocab_size = 0;        // width of the logits
};

// A token that the device takes from the last draw of the row's slot.
inline constexpr TokenId kTokenFromDevice = -1;

// One sequence's share of a step: `num_tokens` new tokens after `context_tokens` in its KV blocks.
struct StepRow {
  int32_t slot;            // 0 … max_sequences-1, constant while the sequence runs
  int32_t first_token;     // index into StepPlan::tokens()
  int32_t num_tokens;      // > 1 is prefill
  int32_t context_tokens;  // tokens already in the KV cache; the position of the first new token
  int32_t first_block;     // index into StepPlan::blocks()
  int32_t num_blocks;      // covers context_tokens + num_tokens
};

// A flat step: a header and three arrays in one block of bytes without pointers, so that it can be
// shared between threads and sent to other nodes as it is. Sized once for the most a step can hold.
class StepPlan {
 public:
  explicit StepPlan(const Capacity& capacity);

  void clear();
  // Both return the appended elements for the caller to fill.
  StepRow& add_row();
  std::span<TokenId> add_tokens(int32_t count);
  std::span<int32_t> add_blocks(int32_t count);

  void set_step(uint64_t step) { header().step = step; }
  uint64_t step() const { return header().step; }
  bool empty() const { return header().num_rows == 0; }
  std::span<const StepRow> rows() const;
  std::span<const TokenId> tokens() const;  // [num_tokens]
  std::span<const int32_t> blocks() const;  // the rows' block tables, one after another
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  struct Header {
    uint64_t step;
    int32_t num_rows, num_tokens, num_blocks;
    int32_t max_rows, max_tokens, max_blocks;
  };
  Header& header() { return *reinterpret_cast<Header*>(bytes_.data()); }
  const Header& header() const { return *reinterpret_cast<const Header*>(bytes_.data()); }
  size_t rows_offset() const { return sizeof(Header); }
  size_t tokens_offset() const { return rows_offset() + header().max_rows * sizeof(StepRow); }
  size_t blocks_offset() const { return tokens_offset() + header().max_tokens * sizeof(TokenId); }

  std::vector<std::byte> bytes_;
};

// A part of one of a SamplePlan's arrays.
struct Range {
  int32_t begin = 0;
  int32_t count = 0;
};

// What is wanted of one position of the step just queued.
struct SampleRow {
  int32_t slot = 0;
  int32_t token_index = 0;  // index into the step's tokens: whose hidden state
  int32_t position =
      0;             // of the token to be drawn, in its sequence; with the seed it fixes the draw
  bool draw = true;  // draw a token and keep it as the slot's last one
  TokenId target = -1;  // not drawn: the token whose logprob is wanted (prompt_logprobs)
  int32_t num_logprobs = -1;

  float temperature = 1.0f, top_p = 1.0f, min_p = 0.0f;
  int32_t top_k = 0;
  float repetition_penalty = 1.0f, presence_penalty = 0.0f, frequency_penalty = 0.0f;
  uint64_t seed = 0;

  // Tokens that joined the slot's history since its last sample, for the penalties (empty when the
  // row has none): the first `history_prompt` of them are prompt. `history_reset` comes first.
  Range history;
  int32_t history_prompt = 0;
  bool history_reset = false;

  Range bias;         // into bias_ids / bias_values
  Range allowed;      // into ids; empty: all
  Range banned;       // into ids
  Range logprob_ids;  // into ids
  int32_t mask = -1;  // first word in masks, or -1: the allowed bits, vocab_size rounded up to 32
};

struct SamplePlan {
  uint64_t step = 0;
  std::vector<SampleRow> rows;
  std::vector<TokenId> ids;
  std::vector<TokenId> bias_ids;
  std::vector<float> bias_values;
  std::vector<uint32_t> masks;

  void clear() {
    rows.clear();
    ids.clear();
    bias_ids.clear();
    bias_values.clear();
    masks.clear();
  }
};

// One SampleRow's outcome. Tokens are a range because a later executor may return more than one.
struct SampledRow {
  Range tokens;      // into StepResult::tokens
  int32_t rank = 0;  // of the drawn (or target) token among all, 1 is best; 0 when not asked for
  float logprob = 0.0f;  // of that token, from the raw logits
  Range top;             // into top_ids / top_logprobs, best first; then the row's logprob_ids
};

struct StepResult {
  uint64_t step = 0;
  std::vector<SampledRow> rows;  // as SamplePlan::rows
  std::vector<TokenId> tokens;
  std::vector<TokenId> top_ids;
  std::vector<float> top_logprobs;

  void clear() {
    rows.clear();
    tokens.clear();
    top_ids.clear();
    top_logprobs.clear();
  }
};

class Executor {
 public:
  virtual ~Executor() = default;
  virtual Capacity capacity() const = 0;
  virtual void forward(const StepPlan& plan) = 0;
  virtual void sample(const SamplePlan& plan) = 0;
  // Fills `result` with the oldest step's tokens. An error is a fault of the device, a rank or a
  // communicator, or the deadline: no further call but the destructor is made.
  virtual Status wait(Deadline deadline, StepResult& result) = 0;
};

}  // namespace m2
