// An Executor without a model, for tests of everything above it. Its KV memory is real: a step
// writes each token and its position into the blocks that the plan names, and a draw reads the
// whole context back through the block table. The next token is a hash of what was read, so a wrong
// block, a wrong position or a stale cache shows as a wrong token.
//
// It works as late as it may: forward() and sample() keep pointers, and wait() does the work. A
// caller that reuses a plan too early is found out by that.
//
// fake_draw() is the same function without memory: what a right engine must give.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "engine/executor.h"

namespace m2 {

struct FakeOptions {
  Capacity capacity{.num_blocks = 64,
                    .block_tokens = 4,
                    .max_step_tokens = 64,
                    .max_sequences = 8,
                    .max_sample_rows = 16,
                    .max_model_tokens = 128,
                    .vocab_size = 100};
  // The next token for a context, if set, in place of the hash; bans and masks do not touch it.
  std::function<TokenId(std::span<const TokenId> context)> next_token;
  // Called on the engine thread at the start of each forward() and wait().
  std::function<void(uint64_t step)> on_forward, on_wait;
  std::chrono::microseconds step_delay{0};
  uint64_t fault_at_step = 0;  // wait() for this step is a fault; steps count from 1
  uint64_t hang_at_step = 0;   // wait() for this step sleeps until its deadline
  uint64_t void_every = 0;     // each n-th draw gives no token
  bool record = false;         // keep a copy of every row and sample row
};

inline uint64_t fake_mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 29);
}

inline uint64_t fake_context_hash(std::span<const TokenId> context) {
  uint64_t hash = 1;
  for (const TokenId token : context) hash = fake_mix(hash, static_cast<uint32_t>(token));
  return hash;
}

// Everything that a draw of the fake depends on.
struct FakeDraw {
  std::span<const TokenId> context;
  int32_t vocab_size = 0;
  float temperature = 1.0f;
  uint64_t seed = 0;
  bool penalised = false;
  std::span<const TokenId> history;  // prompt, then output; counts only if penalised
  int32_t history_prompt = 0;
  TokenId forced = -1;  // by a large bias
};

// The hash chooses a token; one that may not come gives way to the next higher that may.
template <typename Allowed>
TokenId fake_draw(const FakeDraw& draw, Allowed allowed) {
  uint64_t hash = fake_context_hash(draw.context);
  if (draw.temperature > 0) hash = fake_mix(fake_mix(hash, draw.seed), draw.context.size());
  if (draw.penalised) {
    hash = fake_mix(fake_mix(hash, fake_context_hash(draw.history)),
                    static_cast<uint64_t>(draw.history_prompt));
  }
  auto token = static_cast<TokenId>(hash % static_cast<uint64_t>(draw.vocab_size));
  if (draw.forced >= 0) token = draw.forced;
  for (int32_t tries = 0; tries < draw.vocab_size && !allowed(token); ++tries) {
    token = (token + 1) % draw.vocab_size;
  }
  return token;
}

inline float fake_logprob(std::span<const TokenId> context, TokenId token) {
  const uint64_t hash = fake_mix(fake_context_hash(context), static_cast<uint32_t>(token));
  return -static_cast<float>(hash % 4096) / 256.0f;
}

class FakeExecutor : public Executor {
 public:
  static constexpr float kForcingBias = 50.0f;

  struct Recorded {
    uint64_t step = 0;
    std::vector<StepRow> rows;
    std::vector<TokenId> tokens;
    std::vector<int32_t> blocks;
    std::vector<SampleRow> samples;
    std::vector<TokenId> ids;
  };

  explicit FakeExecutor(FakeOptions options)
      : options_(std::move(options)),
        memory_(static_cast<size_t>(options_.capacity.num_blocks) * options_.capacity.block_tokens),
        last_draw_(options_.capacity.max_sequences, -1),
        history_(options_.capacity.max_sequences) {}

  Capacity capacity() const override { return options_.capacity; }

  void forward(const StepPlan& plan) override {
    M2_CHECK(queue_.size() < 2 && (queue_.empty() || queue_.back().sample != nullptr),
             "forward {} before its predecessor was sampled", plan.step());
    if (options_.on_forward) options_.on_forward(plan.step());
    check_rows(plan);
    queue_.push_back({&plan, nullptr});
  }

  void sample(const SamplePlan& plan) override {
    M2_CHECK(!queue_.empty() && queue_.back().sample == nullptr &&
             queue_.back().forward->step() == plan.step);
    M2_CHECK(static_cast<int32_t>(plan.rows.size()) <= options_.capacity.max_sample_rows);
    queue_.back().sample = &plan;
  }

  Status wait(Deadline deadline, StepResult& result) override {
    M2_CHECK(!queue_.empty() && queue_.front().sample != nullptr, "wait without a step");
    const Queued step = queue_.front();
    queue_.pop_front();
    const uint64_t number = step.forward->step();
    if (options_.on_wait) options_.on_wait(number);
    if (number == options_.fault_at_step) {
      return fail(ErrorKind::kInternal, "", "injected fault at step {}", number);
    }
    const auto done = std::chrono::steady_clock::now() + options_.step_delay;
    if (number == options_.hang_at_step || done > deadline) {
      std::this_thread::sleep_until(deadline);
      return fail(ErrorKind::kInternal, "", "step {} passed its deadline", number);
    }
    if (options_.step_delay.count() > 0) std::this_thread::sleep_until(done);
    run_forward(*step.forward);
    run_sample(*step.forward, *step.sample, result);
    if (options_.record) record(*step.forward, *step.sample);
    ++steps_;
    return {};
  }

  uint64_t steps() const { return steps_; }
  // Cells that were read but held another position than they should, or were never written.
  uint64_t wrong_reads() const { return wrong_reads_; }
  const std::vector<Recorded>& recorded() const { return recorded_; }

 private:
  struct Cell {
    TokenId token = -1;
    int32_t position = -1;
  };
  struct Queued {
    const StepPlan* forward;
    const SamplePlan* sample;
  };
  struct History {
    std::vector<TokenId> tokens;
    int32_t prompt = 0;
  };

  void check_rows(const StepPlan& plan) const {
    const Capacity& capacity = options_.capacity;
    M2_CHECK(static_cast<int32_t>(plan.rows().size()) <= capacity.max_sequences);
    M2_CHECK(static_cast<int32_t>(plan.tokens().size()) <= capacity.max_step_tokens);
    std::vector<bool> slots(capacity.max_sequences, false);
    for (const StepRow& row : plan.rows()) {
      M2_CHECK(row.num_tokens > 0 && !slots[row.slot], "two rows of slot {}", row.slot);
      slots[row.slot] = true;
      const int32_t end = row.context_tokens + row.num_tokens;
      M2_CHECK(end <= capacity.max_model_tokens);
      M2_CHECK(row.num_blocks == (end + capacity.block_tokens - 1) / capacity.block_tokens);
    }
  }

  Cell& cell(const StepPlan& plan, const StepRow& row, int32_t position) {
    const int32_t block_tokens = options_.capacity.block_tokens;
    const int32_t block = plan.blocks()[row.first_block + position / block_tokens];
    return memory_[static_cast<size_t>(block) * block_tokens + position % block_tokens];
  }

  void run_forward(const StepPlan& plan) {
    for (const StepRow& row : plan.rows()) {
      for (int32_t i = 0; i < row.num_tokens; ++i) {
        TokenId token = plan.tokens()[row.first_token + i];
        if (token == kTokenFromDevice) token = last_draw_[row.slot];
        cell(plan, row, row.context_tokens + i) = {token, row.context_tokens + i};
      }
    }
  }

  static const StepRow& row_of(const StepPlan& plan, int32_t token_index) {
    for (const StepRow& row : plan.rows()) {
      if (token_index >= row.first_token && token_index < row.first_token + row.num_tokens) {
        return row;
      }
    }
    M2_CHECK(false, "sample row of token {}, which no row has", token_index);
    std::abort();
  }

  // Reads the tokens at positions 0 … count-1 back.
  void read_context(const StepPlan& plan, const StepRow& row, int32_t count) {
    context_.clear();
    for (int32_t position = 0; position < count; ++position) {
      const Cell& read = cell(plan, row, position);
      const bool right = read.position == position && read.token >= 0;
      wrong_reads_ += !right;
      context_.push_back(right ? read.token : -2 - position);  // spoils the hash
    }
  }

  void run_sample(const StepPlan& plan, const SamplePlan& samples, StepResult& result) {
    result.step = samples.step;
    for (const SampleRow& sample : samples.rows) {
      const StepRow& row = row_of(plan, sample.token_index);
      M2_CHECK(sample.slot == row.slot);
      const int32_t position = row.context_tokens + (sample.token_index - row.first_token) + 1;
      M2_CHECK(sample.position == position, "sample row of position {}, not {}", sample.position,
               position);
      read_context(plan, row, position);
      SampledRow sampled;
      TokenId token = sample.target;
      if (sample.draw) {
        token = draw(samples, sample);
        sampled.tokens.begin = static_cast<int32_t>(result.tokens.size());
        if (options_.void_every == 0 || ++draws_ % options_.void_every != 0) {
          result.tokens.push_back(token);
          sampled.tokens.count = 1;
          last_draw_[sample.slot] = token;
        }
      }
      if (sample.num_logprobs >= 0) add_logprobs(samples, sample, token, sampled, result);
      result.rows.push_back(sampled);
    }
  }

  static std::span<const TokenId> ids(const SamplePlan& samples, Range range) {
    return std::span(samples.ids).subspan(range.begin, range.count);
  }

  TokenId draw(const SamplePlan& samples, const SampleRow& sample) {
    if (options_.next_token) return options_.next_token(context_);
    History& history = history_[sample.slot];
    const bool penalised = sample.repetition_penalty != 1.0f || sample.presence_penalty != 0.0f ||
                           sample.frequency_penalty != 0.0f;
    if (sample.history_reset) history = {};
    const std::span<const TokenId> joined = ids(samples, sample.history);
    history.tokens.insert(history.tokens.end(), joined.begin(), joined.end());
    history.prompt += sample.history_prompt;
    FakeDraw what{context_,           options_.capacity.vocab_size,
                  sample.temperature, sample.seed,
                  penalised,          history.tokens,
                  history.prompt};
    for (int32_t i = sample.bias.begin; i < sample.bias.begin + sample.bias.count; ++i) {
      if (samples.bias_values[i] >= kForcingBias) what.forced = samples.bias_ids[i];
    }
    const auto contains = [](std::span<const TokenId> list, TokenId id) {
      return std::ranges::find(list, id) != list.end();
    };
    return fake_draw(what, [&](TokenId id) {
      if (contains(ids(samples, sample.banned), id)) return false;
      const auto allowed = ids(samples, sample.allowed);
      if (!allowed.empty() && !contains(allowed, id)) return false;
      return sample.mask < 0 || (samples.masks[sample.mask + id / 32] >> (id % 32) & 1u) != 0;
    });
  }

  void add_logprobs(const SamplePlan& samples, const SampleRow& sample, TokenId token,
                    SampledRow& sampled, StepResult& result) const {
    sampled.rank = 1;
    sampled.logprob = fake_logprob(context_, token);
    sampled.top.begin = static_cast<int32_t>(result.top_ids.size());
    const auto add = [&](TokenId id) {
      result.top_ids.push_back(id);
      result.top_logprobs.push_back(fake_logprob(context_, id));
      ++sampled.top.count;
    };
    for (int32_t i = 0; i < sample.num_logprobs; ++i) {
      add((token + i) % options_.capacity.vocab_size);
    }
    for (const TokenId id : ids(samples, sample.logprob_ids)) add(id);
  }

  void record(const StepPlan& plan, const SamplePlan& samples) {
    recorded_.push_back({plan.step(),
                         {plan.rows().begin(), plan.rows().end()},
                         {plan.tokens().begin(), plan.tokens().end()},
                         {plan.blocks().begin(), plan.blocks().end()},
                         samples.rows,
                         samples.ids});
  }

  const FakeOptions options_;
  std::vector<Cell> memory_;        // [num_blocks, block_tokens]
  std::vector<TokenId> last_draw_;  // [max_sequences]
  std::vector<History> history_;    // [max_sequences]
  std::deque<Queued> queue_;
  std::vector<TokenId> context_;  // scratch
  std::vector<Recorded> recorded_;
  uint64_t draws_ = 0;
  std::atomic<uint64_t> steps_{0}, wrong_reads_{0};
};

}  // namespace m2
