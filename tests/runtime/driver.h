// Plays the engine for one sequence.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "engine/executor.h"

namespace m2::test {

inline Deadline soon() { return std::chrono::steady_clock::now() + std::chrono::seconds(20); }

// Plays the engine for one sequence: greedy, over blocks in falling order.
class Driver {
 public:
  explicit Driver(Executor& executor) : executor_(executor), capacity_(executor.capacity()) {}

  std::vector<TokenId> generate(std::vector<TokenId> prompt, int32_t count) {
    std::vector<TokenId> reply;
    std::vector<StepPlan> steps(2, StepPlan(capacity_));
    std::vector<SamplePlan> samples(2);
    int32_t context = 0;
    for (int32_t i = 0; i <= count; ++i) {
      // Step i is queued before step i - 1 was waited for.
      if (i < count) {
        StepPlan& step = steps[i % 2];
        fill_step(step, i == 0 ? prompt : std::vector<TokenId>{kTokenFromDevice}, context);
        step.set_step(i);
        executor_.forward(step);
        context += static_cast<int32_t>(step.tokens().size());
      }
      if (i > 0) {
        StepResult result;
        const Status status = executor_.wait(soon(), result);
        EXPECT_TRUE(status) << status.error().message;
        EXPECT_EQ(result.step, uint64_t(i - 1));
        reply.push_back(result.tokens.at(0));
      }
      if (i < count) {
        SamplePlan& sample = samples[i % 2];
        sample.clear();
        sample.step = i;
        SampleRow row;
        row.slot = 2;
        row.token_index = static_cast<int32_t>(steps[i % 2].tokens().size()) - 1;
        row.position = context;
        row.temperature = 0;
        sample.rows.push_back(row);
        executor_.sample(sample);
      }
    }
    return reply;
  }

 private:
  void fill_step(StepPlan& step, const std::vector<TokenId>& tokens, int32_t context) {
    step.clear();
    const auto count = static_cast<int32_t>(tokens.size());
    const int32_t blocks = (context + count + capacity_.block_tokens - 1) / capacity_.block_tokens;
    step.add_row() = {2, 0, count, context, 0, blocks};
    std::copy(tokens.begin(), tokens.end(), step.add_tokens(count).begin());
    int32_t next = capacity_.num_blocks;
    for (int32_t& block : step.add_blocks(blocks)) block = --next;
  }

  Executor& executor_;
  const Capacity capacity_;
};

}  // namespace m2::test
