#include "runtime/step_cost.h"

#include <gtest/gtest.h>

#include "tests/runtime/small_config.h"

namespace m2 {
namespace {

using test::small_config;

TEST(StepCost, CostOfOneToken) {
  // By hand: q and o 128 x 512 each, k and v 128 x 256 each; an expert three of 128 x 128; one
  // token reads two of the four.
  const double attention = 2 * 128 * 512 + 2 * 128 * 256, expert = 3 * 128 * 128, head = 200 * 128;
  const StepCost cost = cost_of(small_config(), {.rows = 1, .tokens = 1, .context = 9}, 50);
  EXPECT_DOUBLE_EQ(cost.bytes, 2 * (attention + 2 * expert + 4 * 4 * 128) + 2 * head + 50 * 10);
  const double router = 4 * 128;
  EXPECT_DOUBLE_EQ(cost.flops,
                   2 * 2 * (attention + 2 * expert + router) + 2 * head + 4 * 2 * 512 * 10);
}

TEST(StepCost, ManyTokensReadEveryExpertOnce) {
  const StepCost few = cost_of(small_config(), {.rows = 1, .tokens = 100}, 0);
  const StepCost many = cost_of(small_config(), {.rows = 1, .tokens = 200}, 0);
  EXPECT_NEAR(few.bytes, many.bytes, 1e-6 * few.bytes);
  EXPECT_GT(many.flops, 1.9 * few.flops);
}

TEST(StepCost, OpsMakeTheStep) {
  const ModelConfig config = small_config();
  const StepShape shape{.rows = 3, .tokens = 5, .context = 11};
  StepCost sum = cost_of(config, OpKind::kHead, shape, 50);
  for (const OpKind op : kOpKinds) {
    if (op == OpKind::kHead) continue;
    const StepCost one = cost_of(config, op, shape, 50);
    EXPECT_GT(one.bytes, 0) << op_name(op);
    EXPECT_GT(one.flops, 0) << op_name(op);
    sum.bytes += config.num_layers * one.bytes;
    sum.flops += config.num_layers * one.flops;
  }
  const StepCost whole = cost_of(config, shape, 50);
  EXPECT_NEAR(whole.bytes, sum.bytes, 1e-9 * sum.bytes);
  EXPECT_NEAR(whole.flops, sum.flops, 1e-9 * sum.flops);
}

}  // namespace
}  // namespace m2
