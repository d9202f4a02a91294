#include "runtime/step_bench.h"

#include <gtest/gtest.h>

#include "tests/runtime/small_config.h"

namespace m2 {
namespace {

using test::fill;
using test::small_config;

class StepBenchRuns : public testing::Test {
 protected:
  void SetUp() override {
    RuntimeOptions options;
    options.device = "cpu";
    options.max_sequences = 4;
    options.max_step_tokens = 32;
    options.max_model_tokens = 64;
    options.num_blocks = 16;
    auto made = make_runtime(small_config(), options, fill);
    ASSERT_TRUE(made) << made.error().message;
    runtime_ = std::move(*made);
  }
  Executor& executor() { return *runtime_.executors[0]; }
  Runtime runtime_;
};

TEST_F(StepBenchRuns, TimesEachStep) {
  for (const StepShape shape : {StepShape{4, 1, 16}, StepShape{1, 32, 8}}) {
    const auto seconds = time_steps(executor(), shape, 5);
    ASSERT_TRUE(seconds) << seconds.error().message;
    EXPECT_EQ(seconds->size(), 5u);
    for (const double s : *seconds) EXPECT_GT(s, 0);
  }
}

TEST_F(StepBenchRuns, FillsTheContextInSteps) {
  EXPECT_TRUE(fill_context(executor(), {2, 1, 60}));  // 32 tokens a step
  EXPECT_TRUE(time_steps(executor(), {2, 1, 60}, 2));
  EXPECT_TRUE(fill_context(executor(), {2, 1, 61}, 60));
  EXPECT_TRUE(time_steps(executor(), {2, 1, 61}, 1)) << "no result of filling is left over";
  EXPECT_FALSE(fill_context(executor(), {2, 1, 64}));
}

TEST_F(StepBenchRuns, RefusesWhatHasNoRoom) {
  for (const StepShape shape : {StepShape{5, 1, 0}, StepShape{1, 33, 0}, StepShape{1, 1, 60},
                                StepShape{4, 1, 63}, StepShape{0, 1, 0}}) {
    EXPECT_FALSE(time_steps(executor(), shape, 5));
  }
  EXPECT_TRUE(time_steps(executor(), {1, 1, 0}, 5)) << "a refusal leaves the executor as it was";
}

}  // namespace
}  // namespace m2
