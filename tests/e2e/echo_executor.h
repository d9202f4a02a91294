// An Executor without a model, for tests of everything around it: it replies with what stands in
// the last user message after "reply:", token by token, then the end token.
//
// Its KV memory holds the token ids themselves, written and read back through the block tables of
// each step, so that a wrong block, position or stale cache entry becomes a wrong reply.
//
// Thread-safety: as Executor, the engine thread only. The tokenizer outlives it.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "engine/executor.h"
#include "text/tokenizer.h"

namespace m2 {

class EchoExecutor : public Executor {
 public:
  EchoExecutor(Capacity capacity, const Tokenizer& tokenizer, TokenId end_token);

  // A step takes at least so long, as a model's would.
  void set_step_time(std::chrono::microseconds time) { step_time_ = time; }

  Capacity capacity() const override { return capacity_; }
  void forward(const StepPlan& plan) override;
  void sample(const SamplePlan& plan) override;
  Status wait(Deadline deadline, StepResult& result) override;

 private:
  // One prompt and what it is answered with. Kept per slot: a sequence asks once a token.
  struct Exchange {
    std::vector<TokenId> prompt, reply;  // the reply without its end token
  };

  TokenId& cell(const StepRow& row, int32_t position);
  void read_context(const StepRow& row, int32_t count);  // into context_
  TokenId next_token(int32_t slot);                      // after context_
  std::vector<TokenId> reply_to(std::span<const TokenId> prompt) const;
  bool continues(std::span<const TokenId> reply, size_t prompt_tokens) const;
  void find_exchange(Exchange& out) const;
  TokenId permitted(const SamplePlan& plan, const SampleRow& row, TokenId token) const;
  void add_row(const SamplePlan& plan, const SampleRow& row, StepResult& result);

  const Capacity capacity_;
  const Tokenizer& tokenizer_;
  const TokenId end_token_, role_token_;
  std::vector<TokenId> kv_;          // [num_blocks, block_tokens]
  std::vector<TokenId> last_token_;  // [max_sequences]
  std::vector<Exchange> exchanges_;  // [max_sequences]
  std::vector<TokenId> context_;
  std::chrono::microseconds step_time_{0};
  std::chrono::steady_clock::time_point step_end_;
  const StepPlan* plan_ = nullptr;  // the step just forwarded
  std::deque<StepResult> done_;     // sampled and not yet waited for
};

}  // namespace m2
