// The runtime as the engine uses it: plans in, tokens out, one step ahead.
#include "runtime/runtime.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <stdexcept>
#include <thread>

#include "backend/backend.h"
#include "parallel/local_communicator.h"
#include "parallel/self_communicator.h"
#include "runtime/rank_group.h"
#include "runtime/warm_up.h"
#include "tests/runtime/driver.h"
#include "tests/runtime/idle_ops.h"
#include "tests/runtime/small_config.h"

namespace m2 {
namespace {

using test::Driver;
using test::fill;
using test::small_config;
using test::small_options;

using std::chrono::milliseconds;
using std::chrono::steady_clock;

TEST(Runtime, OneStepAheadEqualsTheWholePrompt) {
  auto runtime = make_runtime(small_config(), small_options(), fill);
  ASSERT_TRUE(runtime) << runtime.error().message;
  const std::vector<TokenId> prompt{5, 100, 7, 33, 199};
  Driver driver(*runtime->executors[0]);
  const std::vector<TokenId> reply = driver.generate(prompt, 20);
  ASSERT_EQ(reply.size(), 20u);
  EXPECT_EQ(driver.generate(prompt, 20), reply);
  // The reply's tokens given as a prompt lead to the same next token.
  std::vector<TokenId> longer = prompt;
  longer.insert(longer.end(), reply.begin(), reply.begin() + 10);
  EXPECT_EQ(driver.generate(longer, 1)[0], reply[10]);
}

TEST(Runtime, CapacityFollowsTheOptions) {
  RuntimeOptions options = small_options();
  auto runtime = make_runtime(small_config(), options, fill);
  ASSERT_TRUE(runtime) << runtime.error().message;
  const Capacity capacity = runtime->executors[0]->capacity();
  EXPECT_EQ(capacity.num_blocks, 64);
  EXPECT_EQ(capacity.block_tokens, 16);
  EXPECT_EQ(capacity.max_model_tokens, 256);
  EXPECT_EQ(capacity.vocab_size, 200);
  EXPECT_GE(capacity.max_sample_rows, capacity.max_sequences);
  EXPECT_NE(describe(runtime->plan).find("1024 tokens"), std::string::npos);
  EXPECT_NE(runtime->device.find("cpu"), std::string::npos);
}

// Every layout serves what one rank serves, through engine's plans and tokens kept on the ranks.
TEST(Runtime, RanksReplyAsOneDoes) {
  const std::vector<TokenId> prompt{5, 100, 7, 33, 199};
  std::vector<TokenId> alone;
  for (const Parallelism layout : {Parallelism{1, false}, {2, false}, {2, true}, {4, true}}) {
    RuntimeOptions options = small_options();
    options.parallelism = layout;
    auto runtime = make_runtime(small_config(), options, fill);
    ASSERT_TRUE(runtime) << runtime.error().message;
    const std::vector<TokenId> reply = Driver(*runtime->executors[0]).generate(prompt, 20);
    if (alone.empty()) alone = reply;
    EXPECT_EQ(reply, alone) << layout.tensor_parallel << " ranks";
  }
}

TEST(Runtime, ReplicasReplyAlike) {
  RuntimeOptions options = small_options();
  options.replicas = 3;
  options.parallelism.tensor_parallel = 2;
  auto runtime = make_runtime(small_config(), options, fill);
  ASSERT_TRUE(runtime) << runtime.error().message;
  ASSERT_EQ(runtime->executors.size(), 3u);
  const std::string plan = describe(runtime->plan);
  EXPECT_NE(plan.find("3 replicas of 2 ranks"), std::string::npos) << plan;
  const std::vector<TokenId> prompt{5, 100, 7, 33, 199};
  const std::vector<TokenId> first = Driver(*runtime->executors[0]).generate(prompt, 10);
  for (auto& executor : runtime->executors)
    EXPECT_EQ(Driver(*executor).generate(prompt, 10), first);
}

TEST(Runtime, RefusesWhatItDoesNotServe) {
  RuntimeOptions options = small_options();
  for (const int32_t ranks : {0, 3, 6, 16}) {
    options.parallelism.tensor_parallel = ranks;
    auto runtime = make_runtime(small_config(), options, fill);
    ASSERT_FALSE(runtime);
    EXPECT_EQ(runtime.error().field, "tensor-parallel-size");
    EXPECT_NE(runtime.error().message.find("1, 2, 4 or 8"), std::string::npos);
  }
  for (const int32_t replicas : {0, 65}) {
    options = small_options();
    options.replicas = replicas;
    EXPECT_EQ(make_runtime(small_config(), options, fill).error().field, "data-parallel-size");
  }
  options = small_options();
  options.device = "cuda";
  EXPECT_EQ(make_runtime(small_config(), options, fill).error().field, "device");
  options.device = "tpu";
  EXPECT_EQ(make_runtime(small_config(), options, fill).error().field, "device");
  const auto failing = [](const ModelConfig&, const Shard&, WeightBlock&) -> Status {
    return fail(ErrorKind::kNotFound, "model", "no weights");
  };
  EXPECT_EQ(make_runtime(small_config(), small_options(), failing).error().message, "no weights");
}

TEST(Runtime, PlansWithoutWeights) {
  const auto plan = plan_runtime(small_config(), small_options());
  ASSERT_TRUE(plan) << plan.error().message;
  const auto made = make_runtime(small_config(), small_options(), fill);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(describe(*plan).substr(0, describe(*plan).find(", left")),
            describe(made->plan).substr(0, describe(made->plan).find(", left")));
  RuntimeOptions options = small_options();
  options.parallelism.tensor_parallel = 3;
  EXPECT_EQ(plan_runtime(small_config(), options).error().field, "tensor-parallel-size");
  options = small_options();
  options.device = "cpu";
  options.num_blocks = 1 << 30;
  const auto large = plan_runtime(small_config(), options);
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().kind, ErrorKind::kUnavailable);
  EXPECT_NE(large.error().message.find("are free; on cpu, "), std::string::npos)
      << large.error().message;
}

// Ops that do nothing, fail, throw or hang.
class FaultyOps : public test::IdleOps {
 public:
  enum class Fault { kNone, kError, kThrow, kHang, kHangForGood };
  explicit FaultyOps(Fault fault) : fault_(fault) {}
  void embed(const Matrix&, Communicator& communicator) override {
    if (fault_ == Fault::kThrow) throw std::runtime_error("out of paper");
    while (fault_ == Fault::kHang && communicator.status()) {
      std::this_thread::sleep_for(milliseconds(1));
    }
    while (fault_ == Fault::kHangForGood) std::this_thread::sleep_for(std::chrono::hours(1));
    communicator.barrier();  // as every op that needs the others
  }
  Status collect(SampleOutput&) override {
    if (fault_ == Fault::kError) return fail(ErrorKind::kInternal, "", "the device fell over");
    return {};
  }

 private:
  const Fault fault_;
};

// A device that runs behind: it is done with a step only when the next one is queued.
class LateOps final : public FaultyOps {
 public:
  explicit LateOps(std::string& order) : FaultyOps(Fault::kNone), order_(order) {}
  void begin_step(const Batch&) override { order_ += 'f', ++forwards_; }
  void sample(std::span<const SampleRequest>, Communicator&) override { order_ += 's'; }
  bool ready() override { return forwards_ >= 3; }
  Status collect(SampleOutput&) override {
    order_ += 'c';
    return {};
  }

 private:
  std::string& order_;
  int forwards_ = 0;
};

// Ops that want sizes to be run once, and write down what came.
class WarmedOps final : public FaultyOps {
 public:
  using Steps = std::vector<std::pair<size_t, size_t>>;  // rows, tokens
  explicit WarmedOps(Steps& steps) : FaultyOps(Fault::kNone), steps_(steps) {}
  std::span<const int32_t> sizes_to_warm() const override { return sizes_; }
  void begin_step(const Batch& batch) override {
    steps_.emplace_back(batch.rows.size(), batch.tokens.size());
    for (const BatchRow& row : batch.rows) {
      EXPECT_GE(row.blocks.size() * 16, size_t(row.context_tokens) + row.num_tokens);
      for (const int32_t block : row.blocks) EXPECT_TRUE(block >= 0 && block < 3) << block;
    }
  }

 private:
  const std::vector<int32_t> sizes_{1, 4, 100};
  Steps& steps_;
};

// Every size as decode rows and as a prompt, the largest first, within the limits.
TEST(WarmUp, RunsEverySizeAsRowsAndAsAPrompt) {
  WarmedOps::Steps steps;
  RankParts parts;
  parts.communicator = std::make_unique<SelfCommunicator>();
  parts.ops = std::make_unique<WarmedOps>(steps);
  const OpsLimits limits{.max_step_tokens = 64,
                         .max_sequences = 8,
                         .max_sample_rows = 8,
                         .max_model_tokens = 200,
                         .num_blocks = 3,
                         .block_tokens = 16,
                         .kv_dtype = DType::kF32,
                         .real_vocab = 10};
  ASSERT_TRUE(warm_up(parts, limits));
  EXPECT_EQ(steps, (WarmedOps::Steps{{8, 8}, {1, 48}, {4, 4}, {1, 4}, {1, 1}, {1, 1}}));
}

// The next step is queued before the tokens of the last are waited for, as the engine drives it.
TEST(RankTest, QueuesTheNextStepBeforeItWaits) {
  std::string order;
  std::vector<RankParts> parts(1);
  parts[0].communicator = std::make_unique<SelfCommunicator>();
  parts[0].ops = std::make_unique<LateOps>(order);
  const Capacity capacity{.num_blocks = 1,
                          .max_step_tokens = 1,
                          .max_sequences = 1,
                          .max_sample_rows = 1,
                          .max_model_tokens = 16,
                          .vocab_size = 8};
  std::vector<StepPlan> steps(3, StepPlan(capacity));
  std::vector<SamplePlan> samples(3);
  StepResult result;
  {
    RankGroup group(std::move(parts), capacity);
    const auto wait = [&](uint64_t step) {
      ASSERT_TRUE(group.wait(steady_clock::now() + std::chrono::seconds(20), result));
      EXPECT_EQ(result.step, step);
    };
    for (uint64_t k = 0; k < 3; ++k) {
      steps[k].set_step(k);
      samples[k].step = k;
      group.forward(steps[k]);
      if (k > 0) wait(k - 1);
      group.sample(samples[k]);
    }
    wait(2);
  }
  EXPECT_EQ(order, "fsfcsfcsc");
}

class Faults : public ::testing::TestWithParam<int32_t> {
 protected:
  // Four ranks, of which one has the fault.
  Status run(FaultyOps::Fault fault, milliseconds patience) {
    auto communicators = LocalCommunicator::make(4);
    std::vector<RankParts> parts(4);
    for (int i = 0; i < 4; ++i) {
      parts[i].communicator = std::move(communicators[i]);
      parts[i].ops = std::make_unique<FaultyOps>(i == GetParam() ? fault : FaultyOps::Fault::kNone);
    }
    const Capacity capacity{.num_blocks = 1,
                            .max_step_tokens = 1,
                            .max_sequences = 1,
                            .max_sample_rows = 1,
                            .max_model_tokens = 16,
                            .vocab_size = 8};
    // A rank that is left behind keeps its plans, in a process that is about to end.
    static auto* const plans = new std::deque<std::pair<StepPlan, SamplePlan>>;
    auto& [step, sample] = plans->emplace_back(StepPlan(capacity), SamplePlan());
    step.set_step(7);
    sample.step = 7;
    RankGroup group(std::move(parts), capacity);
    group.forward(step);
    group.sample(sample);
    StepResult result;
    return group.wait(steady_clock::now() + patience, result);
  }
  std::string rank_name() const { return "rank " + std::to_string(GetParam()); }
};

TEST_P(Faults, NoneIsNoError) { EXPECT_TRUE(run(FaultyOps::Fault::kNone, milliseconds(5000))); }

TEST_P(Faults, AnyRanksErrorComesBackWithItsName) {
  const Status status = run(FaultyOps::Fault::kError, milliseconds(5000));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, rank_name() + ": step 7: the device fell over");
}

TEST_P(Faults, ARankThatDiesIsAnErrorAtOnce) {
  const Status status = run(FaultyOps::Fault::kThrow, milliseconds(60000));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, rank_name() + ": died: out of paper");
}

TEST_P(Faults, AHangIsAnErrorAtTheDeadlineAndTheGroupStillEnds) {
  const Status status = run(FaultyOps::Fault::kHang, milliseconds(50));
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("step 7 missed its deadline"), std::string::npos)
      << status.error().message;
}

// A rank that nothing can reach is named and left behind.
TEST_P(Faults, AHangForGoodIsNamed) {
  const Status status = run(FaultyOps::Fault::kHangForGood, milliseconds(50));
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("(" + rank_name() + " of 4)"), std::string::npos)
      << status.error().message;
}

INSTANTIATE_TEST_SUITE_P(Rank, Faults, ::testing::Values(0, 2));

}  // namespace
}  // namespace m2
