#include "runtime/op_bench.h"

#include <gtest/gtest.h>

#include <cmath>

#include "backend/backend.h"
#include "loader/dummy.h"
#include "parallel/self_communicator.h"
#include "runtime/make_ranks.h"
#include "runtime/memory_plan.h"
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

TEST(OpBench, TimesEveryOp) {
  ModelConfig config = small_shape();
  config.expert_width = 1024;
  RuntimeOptions options;
  options.max_sequences = 4;
  options.max_step_tokens = 32;
  options.max_model_tokens = 64;
  options.num_blocks = 16;
  const auto backend = open_backend({.device = "cpu"});
  const Shard shard = *make_shard(config, {}, 0);
  const auto plan = plan_memory(config, shard, options, **backend);
  ASSERT_TRUE(plan) << plan.error().message;
  const LoadWeights load = [](const ModelConfig& c, const Shard& s, WeightBlock& block) {
    return fill_dummy(c, s, 1, 1, block);
  };
  auto parts = make_rank(config, shard, plan->limits, load, **backend);
  ASSERT_TRUE(parts) << parts.error().message;
  parts->communicator = std::make_unique<SelfCommunicator>();
  for (const StepShape shape : {StepShape{4, 1, 16}, StepShape{1, 32, 8}}) {
    for (const OpKind op : kOpKinds) {
      const auto seconds = time_op(*parts, plan->limits, op, shape, {.repeats = 8, .rounds = 20});
      ASSERT_TRUE(seconds) << op_name(op) << ": " << seconds.error().message;
      EXPECT_LT(std::abs(*seconds), 1.0) << op_name(op);  // a difference: small ones are noise
      // 25 million multiply-adds are no noise.
      if (op == OpKind::kExpertsAdd && shape.tokens > 1) {
        EXPECT_GT(*seconds, 1e-5);
      }
    }
  }
}

TEST(StepCost, OpsMakeTheStep) {
  const ModelConfig config = small_shape();
  const StepShape shape{.rows = 3, .tokens = 5, .context = 11};
  StepCost sum = cost_of(config, OpKind::kHead, shape, 50);
  for (const OpKind op : kOpKinds) {
    if (op == OpKind::kHead) continue;
    const StepCost one = cost_of(config, op, shape, 50);
    EXPECT_GT(one.bytes, 0) << op_name(op);
    EXPECT_GT(one.flops, 0) << op_name(op);
    sum.bytes += 3 * one.bytes;
    sum.flops += 3 * one.flops;
  }
  const StepCost whole = cost_of(config, shape, 50);
  EXPECT_NEAR(whole.bytes, sum.bytes, 1e-9 * sum.bytes);
  EXPECT_NEAR(whole.flops, sum.flops, 1e-9 * sum.flops);
}

}  // namespace
}  // namespace m2
