#include "runtime/step_bench.h"

#include <gtest/gtest.h>

#include "loader/dummy.h"
#include "runtime/runtime.h"

namespace m2 {
namespace {

ModelConfig small_shape() {
  ModelConfig c;
  c.hidden_size = 128;
  c.num_layers = 3;
  c.num_heads = 4;
  c.num_kv_heads = 2;
  c.head_dim = 64;
  c.rotary_dim = 32;
  c.expert_width = 128;
  c.num_experts = 4;
  c.experts_per_token = 2;
  c.vocab_size = 100;
  c.max_position_embeddings = 256;
  c.rope_theta = 1e4;
  return c;
}

TEST(StepBench, CostOfOneToken) {
  // By hand: q and o 128 x 256 each, k and v 128 x 128 each; an expert three of 128 x 128; one
  // token reads two of the four.
  const double attention = 2 * 128 * 256 + 2 * 128 * 128, expert = 3 * 128 * 128, head = 100 * 128;
  const StepCost cost = cost_of(small_shape(), {.rows = 1, .tokens = 1, .context = 9}, 50);
  EXPECT_DOUBLE_EQ(cost.bytes, 3 * (attention + 2 * expert + 4 * 4 * 128) + 2 * head + 50 * 10);
  const double router = 4 * 128;
  EXPECT_DOUBLE_EQ(cost.flops,
                   2 * 3 * (attention + 2 * expert + router) + 2 * head + 4 * 3 * 256 * 10);
}

TEST(StepBench, ManyTokensReadEveryExpertOnce) {
  const StepCost few = cost_of(small_shape(), {.rows = 1, .tokens = 100}, 0);
  const StepCost many = cost_of(small_shape(), {.rows = 1, .tokens = 200}, 0);
  EXPECT_NEAR(few.bytes, many.bytes, 1e-6 * few.bytes);
  EXPECT_GT(many.flops, 1.9 * few.flops);
}

class StepBenchRuns : public testing::Test {
 protected:
  void SetUp() override {
    RuntimeOptions options;
    options.device = "cpu";
    options.max_sequences = 4;
    options.max_step_tokens = 32;
    options.max_model_tokens = 64;
    options.num_blocks = 16;
    auto made = make_runtime(small_shape(), options,
                             [](const ModelConfig& c, const Shard& shard, WeightBlock& block) {
                               return fill_dummy(c, shard, 1, 1, block);
                             });
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
