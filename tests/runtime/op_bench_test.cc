#include "runtime/op_bench.h"

#include <gtest/gtest.h>

#include <map>

#include "backend/backend.h"
#include "parallel/self_communicator.h"
#include "runtime/make_ranks.h"
#include "runtime/memory_plan.h"
#include "tests/runtime/idle_ops.h"
#include "tests/runtime/small_config.h"

namespace m2 {
namespace {

constexpr StepShape kShapes[] = {{4, 1, 16}, {1, 32, 8}};

class CountedOps final : public test::IdleOps {
 public:
  using Calls = std::map<OpKind, int>;
  explicit CountedOps(Calls& calls) : calls_(calls) {}
  void norm_qkv(const float*, const Matrix&) override { ++calls_[OpKind::kNormQkv]; }
  void attention(int32_t, const float*, const float*, Communicator&) override {
    ++calls_[OpKind::kAttention];
  }
  void o_proj_add(const Matrix&, Communicator&) override { ++calls_[OpKind::kOProjAdd]; }
  void norm_route(const float*, const float*) override { ++calls_[OpKind::kNormRoute]; }
  void experts_add(const float*, const Matrix&, const Matrix&, Communicator&) override {
    ++calls_[OpKind::kExpertsAdd];
  }
  void head(std::span<const SampleRequest>, const float*, const Matrix&) override {
    ++calls_[OpKind::kHead];
  }

 private:
  Calls& calls_;
};

OpsLimits limits() {
  return {.max_step_tokens = 32,
          .max_sequences = 4,
          .max_sample_rows = 4,
          .max_model_tokens = 64,
          .num_blocks = 16,
          .block_tokens = 16,
          .kv_dtype = DType::kF32,
          .real_vocab = 200};
}

// The op that is asked for runs in every round, after one that warms up; no other one does.
TEST(OpBench, RunsTheOpAlone) {
  constexpr int kLayers = 3;
  for (const OpKind op : kOpKinds) {
    if (op == OpKind::kHead) continue;  // between all calls in any case
    CountedOps::Calls calls;
    RankParts parts;
    parts.communicator = std::make_unique<SelfCommunicator>();
    parts.ops = std::make_unique<CountedOps>(calls);
    parts.weights.layers.resize(kLayers);
    ASSERT_TRUE(time_op(parts, limits(), op, kShapes[0], {.repeats = 8, .rounds = 5}));
    for (const OpKind other : kOpKinds) {
      if (other == OpKind::kHead) continue;
      // Each once a layer before; and for attention a prompt a row, whose keys it then reads.
      const int before = kLayers * (op == OpKind::kAttention ? 1 + kShapes[0].rows : 1);
      EXPECT_EQ(calls[other], before + (other == op ? 6 * 8 : 0)) << op_name(other);
    }
    EXPECT_GT(calls[OpKind::kHead], 2 * 6 * 8) << "with the op and without";
  }
}

TEST(OpBench, RunsOnADevice) {
  const ModelConfig config = test::small_config();
  const auto backend = open_backend({.device = "cpu"});
  auto parts = make_rank(config, *make_shard(config, {}, 0), limits(), test::fill, **backend);
  ASSERT_TRUE(parts) << parts.error().message;
  parts->communicator = std::make_unique<SelfCommunicator>();
  for (const StepShape& shape : kShapes) {
    for (const OpKind op : kOpKinds) {
      const auto seconds = time_op(*parts, limits(), op, shape, {.repeats = 2, .rounds = 3});
      EXPECT_TRUE(seconds) << op_name(op) << ": " << seconds.error().message;
    }
  }
}

class TimedOps final : public test::IdleOps {
 public:
  explicit TimedOps(bool notes) : notes_(notes) {}
  std::vector<KernelTime> kernel_times() override {
    if (!notes_) return {};
    ++steps_;
    return {{"norm", 2, 1e-6 * steps_}, {"sampling", 1, 5e-6}};
  }

 private:
  const bool notes_;
  int steps_ = 0;
};

// The mean of the steps after three that warm up.
TEST(OpBench, KernelsOfWholeSteps) {
  for (const bool notes : {true, false}) {
    RankParts parts;
    parts.communicator = std::make_unique<SelfCommunicator>();
    parts.ops = std::make_unique<TimedOps>(notes);
    const auto times = time_kernels(parts, limits(), kShapes[0], 4);
    ASSERT_EQ(bool(times), notes);
    if (!notes) {
      EXPECT_EQ(times.error().kind, ErrorKind::kUnsupported);
      continue;
    }
    ASSERT_EQ(times->size(), 2u);
    EXPECT_EQ((*times)[0].name, "norm");
    EXPECT_EQ((*times)[0].count, 2);
    EXPECT_NEAR((*times)[0].seconds, 5.5e-6, 1e-12);
    EXPECT_NEAR((*times)[1].seconds, 5e-6, 1e-12);
  }
}

}  // namespace
}  // namespace m2
