#include "runtime/step_bench.h"

#include <algorithm>
#include <chrono>

#include "base/divide_up.h"

namespace m2 {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kLongestStep = std::chrono::minutes(5);

// Plans of consecutive steps of one shape.
class Steps {
 public:
  Steps(const Capacity& capacity, const StepShape& shape) : capacity_(capacity), shape_(shape) {}

  void fill(StepPlan& plan, int32_t step) {
    plan.clear();
    plan.set_step(step);
    const int32_t tokens = shape_.tokens, context = context_at(step);
    const auto blocks = static_cast<int32_t>(divide_up(context + tokens, capacity_.block_tokens));
    for (int32_t r = 0; r < shape_.rows; ++r) {
      plan.add_row() = {.slot = r,
                        .first_token = r * tokens,
                        .num_tokens = tokens,
                        .context_tokens = context,
                        .first_block = static_cast<int32_t>(plan.blocks().size()),
                        .num_blocks = blocks};
      const bool drawn = tokens == 1 && step > 0;
      for (TokenId& id : plan.add_tokens(tokens)) id = drawn ? kTokenFromDevice : random_token();
      int32_t block = r * (capacity_.num_blocks / shape_.rows);
      for (int32_t& b : plan.add_blocks(blocks)) b = block++;
    }
  }

  // `count` tokens of one row's context, after `begin` of them.
  void fill_chunk(StepPlan& plan, uint64_t number, int32_t row, int32_t begin, int32_t count) {
    plan.clear();
    plan.set_step(number);
    const auto blocks = static_cast<int32_t>(divide_up(begin + count, capacity_.block_tokens));
    plan.add_row() = {row, 0, count, begin, 0, blocks};
    for (TokenId& id : plan.add_tokens(count)) id = random_token();
    int32_t block = row * (capacity_.num_blocks / shape_.rows);
    for (int32_t& b : plan.add_blocks(blocks)) b = block++;
  }

  void fill(SamplePlan& plan, int32_t step) const {
    plan.clear();
    plan.step = step;
    for (int32_t r = 0; r < shape_.rows; ++r) {
      SampleRow row;
      row.slot = r;
      row.token_index = (r + 1) * shape_.tokens - 1;
      row.position = context_at(step) + shape_.tokens;
      row.top_k = 40;
      row.top_p = 0.95f;
      row.seed = r;
      plan.rows.push_back(row);
    }
  }

 private:
  int32_t context_at(int32_t step) const {
    return shape_.context + (shape_.tokens == 1 ? step : 0);
  }
  TokenId random_token() {
    state_ = state_ * 1664525u + 1013904223u;
    return static_cast<TokenId>((state_ >> 8) % static_cast<uint32_t>(capacity_.vocab_size));
  }

  const Capacity capacity_;
  const StepShape shape_;
  uint32_t state_ = 1;
};

Status fits(const Capacity& capacity, const StepShape& shape, int32_t steps) {
  if (shape.rows < 1 || shape.tokens < 1 || shape.context < 0 || steps < 1) {
    return invalid("", "rows, tokens and steps must be at least 1");
  }
  const int64_t longest = int64_t{shape.context} + shape.tokens + (shape.tokens == 1 ? steps : 0);
  const int64_t blocks = divide_up(longest, capacity.block_tokens) * shape.rows;
  if (int64_t{shape.rows} * shape.tokens > capacity.max_step_tokens ||
      shape.rows > capacity.max_sequences || longest > capacity.max_model_tokens ||
      blocks > capacity.num_blocks) {
    return invalid("",
                   "{} rows of {} tokens after {} want {} KV blocks; there is room for {} rows, {} "
                   "tokens a step, {} tokens a sequence and {} blocks",
                   shape.rows, shape.tokens, shape.context, blocks, capacity.max_sequences,
                   capacity.max_step_tokens, capacity.max_model_tokens, capacity.num_blocks);
  }
  return {};
}

}  // namespace

Result<std::vector<double>> time_steps(Executor& executor, const StepShape& shape, int32_t steps) {
  const Capacity capacity = executor.capacity();
  M2_TRY(fits(capacity, shape, steps + 1));
  Steps source(capacity, shape);
  std::vector<StepPlan> plans(2, StepPlan(capacity));
  std::vector<SamplePlan> samples(2);
  std::vector<double> seconds;
  Clock::time_point last;
  for (int32_t i = 0; i <= steps + 1; ++i) {
    if (i <= steps) {
      source.fill(plans[i % 2], i);
      executor.forward(plans[i % 2]);
    }
    if (i > 0) {
      StepResult result;
      M2_TRY(executor.wait(Clock::now() + kLongestStep, result));
      const auto now = Clock::now();
      if (i > 1) seconds.push_back(std::chrono::duration<double>(now - last).count());
      last = now;
    }
    if (i <= steps) {
      source.fill(samples[i % 2], i);
      executor.sample(samples[i % 2]);
    }
  }
  return seconds;
}

Status fill_context(Executor& executor, const StepShape& shape, int32_t begin) {
  const Capacity capacity = executor.capacity();
  M2_TRY(fits(capacity, shape, 1));
  Steps source(capacity, shape);
  StepPlan plan(capacity);
  SamplePlan sample;
  uint64_t number = 0;
  for (int32_t row = 0; row < shape.rows; ++row) {
    for (int32_t at = begin; at < shape.context; at += capacity.max_step_tokens) {
      const int32_t count = std::min(capacity.max_step_tokens, shape.context - at);
      source.fill_chunk(plan, number, row, at, count);
      sample.clear();
      sample.step = number++;
      executor.forward(plan);
      executor.sample(sample);
      StepResult result;
      M2_TRY(executor.wait(Clock::now() + kLongestStep, result));
    }
  }
  return {};
}

}  // namespace m2
