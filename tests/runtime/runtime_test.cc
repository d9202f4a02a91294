// The runtime as the engine uses it: plans in, tokens out, one step ahead.
#include "runtime/runtime.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <stdexcept>
#include <thread>

#include "backend/backend.h"
#include "loader/dummy.h"
#include "parallel/local_communicator.h"
#include "runtime/rank_group.h"

namespace m2 {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

ModelConfig small_config() {
  ModelConfig config;
  config.hidden_size = 128;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 128;
  config.rotary_dim = 64;
  config.expert_width = 128;
  config.num_experts = 4;
  config.experts_per_token = 2;
  config.vocab_size = 200;
  config.max_position_embeddings = 512;
  config.rope_theta = 5e6;
  return config;
}

Status fill(const ModelConfig& config, const Shard& shard, HostMemory& memory) {
  fill_dummy(config, shard, 1, 1, memory.data());
  return {};
}

RuntimeOptions small_options() {
  RuntimeOptions options;
  options.max_sequences = 4;
  options.max_step_tokens = 64;
  options.num_blocks = 64;
  options.max_model_tokens = 256;
  options.threads = 2;
  return options;
}

Deadline soon() { return steady_clock::now() + std::chrono::seconds(20); }

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

class Plan : public ::testing::Test {
 protected:
  Result<MemoryPlan> plan(const RuntimeOptions& options) {
    return plan_memory(config_, *make_shard(config_, {}, 0), options, *backend_);
  }
  const ModelConfig config_ = small_config();
  const std::unique_ptr<Backend> backend_ = std::move(*open_backend({"cpu", 1, 1}));
  // 2 layers of keys and values of 2 heads of 128 floats.
  const int64_t bytes_a_token_ = 2 * 2 * 2 * 128 * 4;
};

TEST_F(Plan, BytesBecomeBlocks) {
  RuntimeOptions options;
  options.kv_cache_bytes = bytes_a_token_ * 16 * 40 + 100;
  const auto made = plan(options);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->kv_bytes_a_token, size_t(bytes_a_token_));
  EXPECT_EQ(made->limits.num_blocks, 40);
  EXPECT_EQ(made->kv_bytes, size_t(bytes_a_token_) * 640);
  EXPECT_FALSE(made->length_shrunk);
}

TEST_F(Plan, LengthShrinksOnlyWhenNotAskedFor) {
  RuntimeOptions options;
  options.kv_cache_bytes = bytes_a_token_ * 16 * 10;
  const auto shrunk = plan(options);
  ASSERT_TRUE(shrunk) << shrunk.error().message;
  EXPECT_TRUE(shrunk->length_shrunk);
  EXPECT_EQ(shrunk->limits.max_model_tokens, 160);
  options.max_model_tokens = 200;
  const auto refused = plan(options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().field, "max-model-len");
  EXPECT_NE(refused.error().message.find("160"), std::string::npos) << refused.error().message;
}

TEST_F(Plan, NeverMoreBlocksThanAllSequencesUse) {
  RuntimeOptions options;
  options.max_sequences = 2;
  const auto made = plan(options);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->kv_tokens(), 2 * 512);
}

// The cache's default size is that of the model, not of a rank.
TEST_F(Plan, RanksShareTheDefaultCache) {
  RuntimeOptions options;
  ModelConfig config = small_config();
  config.max_position_embeddings = 1 << 20;
  options.max_sequences = 256;
  const auto one = plan_memory(config, *make_shard(config, {}, 0), options, *backend_);
  const auto two = plan_memory(config, *make_shard(config, {2, false}, 0), options, *backend_);
  ASSERT_TRUE(one && two);
  EXPECT_LE(two->kv_bytes * 2, one->kv_bytes + (1 << 20));
  EXPECT_GE(two->kv_tokens() + 32, one->kv_tokens()) << "as many tokens as on one rank";
}

TEST_F(Plan, ReplicasThatDoNotFitAreRefusedWithTheArithmetic) {
  ModelConfig config = small_config();
  config.hidden_size = 8192;
  config.vocab_size = 400000;  // 13 GB of embedding and output matrix
  RuntimeOptions options;
  options.max_sequences = 1;
  options.max_step_tokens = 1;
  options.replicas = 64;
  const auto made = plan_memory(config, *make_shard(config, {2, false}, 0), options, *backend_);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().field, "data-parallel-size");
  EXPECT_NE(made.error().message.find("64 replicas of 2 ranks"), std::string::npos);
  EXPECT_NE(made.error().message.find("are free"), std::string::npos) << made.error().message;
}

TEST_F(Plan, BadOptionsNameTheField) {
  const auto field = [&](auto change) {
    RuntimeOptions options;
    change(options);
    const auto made = plan(options);
    return made ? std::string("accepted") : made.error().field;
  };
  EXPECT_EQ(field([](auto& o) { o.max_sequences = 0; }), "max-num-seqs");
  EXPECT_EQ(field([](auto& o) { o.max_step_tokens = 100; }), "max-num-batched-tokens");
  EXPECT_EQ(field([](auto& o) { o.block_tokens = 24; }), "block-size");
  EXPECT_EQ(field([](auto& o) { o.max_model_tokens = 513; }), "max-model-len");
  EXPECT_EQ(field([](auto& o) { o.kv_cache_bytes = 100; }), "kv-cache-memory-bytes");
  EXPECT_EQ(field([](auto& o) {
              o.kv_cache_bytes = int64_t{1} << 60;
              o.max_sequences = 256;
            }),
            "accepted")
      << "no more blocks are made than are of use";
  EXPECT_EQ(field([](auto& o) { o.num_blocks = 1 << 30; }), "kv-cache-memory-bytes");
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
  const auto failing = [](const ModelConfig&, const Shard&, HostMemory&) -> Status {
    return fail(ErrorKind::kNotFound, "model", "no weights");
  };
  EXPECT_EQ(make_runtime(small_config(), small_options(), failing).error().message, "no weights");
}

// Ops that do nothing, fail, throw or hang.
class FaultyOps : public Ops {
 public:
  enum class Fault { kNone, kError, kThrow, kHang, kHangForGood };
  explicit FaultyOps(Fault fault) : fault_(fault) {}
  Status adopt(Weights&) override { return {}; }
  void begin_step(const Batch&) override {}
  void embed(const Matrix&, Communicator& communicator) override {
    if (fault_ == Fault::kThrow) throw std::runtime_error("out of paper");
    while (fault_ == Fault::kHang && communicator.status()) {
      std::this_thread::sleep_for(milliseconds(1));
    }
    while (fault_ == Fault::kHangForGood) std::this_thread::sleep_for(std::chrono::hours(1));
    communicator.barrier();  // as every op that needs the others
  }
  void norm_qkv(const float*, const Matrix&) override {}
  void attention(int32_t, const float*, const float*, Communicator&) override {}
  void o_proj_add(const Matrix&, Communicator&) override {}
  void norm_route(const float*, const float*) override {}
  void experts_add(const float*, const Matrix&, const Matrix&, Communicator&) override {}
  void head(std::span<const SampleRequest>, const float*, const Matrix&) override {}
  void sample(std::span<const SampleRequest>, Communicator&) override {}
  Status collect(SampleOutput&) override {
    if (fault_ == Fault::kError) return fail(ErrorKind::kInternal, "", "the device fell over");
    return {};
  }
  Status read_logits(std::span<float>) override { return {}; }

 private:
  const Fault fault_;
};

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
  EXPECT_EQ(status.error().message, rank_name() + ": the device fell over");
}

TEST_P(Faults, ARankThatDiesIsAnErrorAtOnce) {
  const Status status = run(FaultyOps::Fault::kThrow, milliseconds(60000));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, rank_name() + ": died: out of paper");
}

TEST_P(Faults, AHangIsAnErrorAtTheDeadlineAndTheGroupStillEnds) {
  const Status status = run(FaultyOps::Fault::kHang, milliseconds(50));
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("deadline"), std::string::npos);
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
