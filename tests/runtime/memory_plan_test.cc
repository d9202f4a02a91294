// What a model takes of a device's memory, and what is refused.
#include "runtime/memory_plan.h"

#include <gtest/gtest.h>

#include "backend/backend.h"
#include "tests/runtime/small_config.h"

namespace m2 {
namespace {

using test::small_config;
using test::small_options;

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

TEST_F(Plan, LengthShrinksOnlyWhenToldTo) {
  RuntimeOptions options;
  options.kv_cache_bytes = bytes_a_token_ * 16 * 10;
  const auto untold = plan(options);
  ASSERT_FALSE(untold);
  EXPECT_EQ(untold.error().field, "max-model-len");
  EXPECT_NE(untold.error().message.find("at most 160 tokens fit; --max-model-len auto"),
            std::string::npos)
      << untold.error().message;
  options.fit_length = true;
  const auto shrunk = plan(options);
  ASSERT_TRUE(shrunk) << shrunk.error().message;
  EXPECT_TRUE(shrunk->length_shrunk);
  EXPECT_EQ(shrunk->limits.max_model_tokens, 160);
  options.fit_length = false;
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

// A GPU with nothing behind it: for plans of memory.
class FakeGpu final : public Backend {
 public:
  std::string name() const override { return "cuda"; }
  std::string detail() const override { return "a GPU"; }
  bool may_spin() const override { return false; }
  Status serves(const ModelConfig&, const Shard&) const override { return {}; }
  DType kv_dtype() const override { return DType::kBF16; }
  size_t free_bytes() const override { return free; }
  size_t total_bytes() const override { return size_t{80} << 30; }
  std::vector<DeviceProcess> other_processes() const override { return processes; }
  OpsMemory memory_for(const ModelConfig&, const Shard&, const OpsLimits& limits) const override {
    const size_t block = limits.block_tokens * kTokenBytes;
    return {.kv_bytes = (limits.num_blocks + 1) * block, .scratch_bytes = size_t{1} << 30};
  }
  Result<DeviceRates> measure_rates() const override { return DeviceRates{}; }
  Result<std::unique_ptr<WeightBlock>> make_weights(size_t, const Shard&) override {
    return fail(ErrorKind::kUnsupported, "", "only planned for");
  }
  Result<std::unique_ptr<Ops>> make_ops(const ModelConfig&, const Shard&,
                                        const OpsLimits&) override {
    return fail(ErrorKind::kUnavailable, "", "there is none");
  }

  static constexpr size_t kTokenBytes = size_t{16} << 20;
  size_t free = size_t{79} << 30;
  std::vector<DeviceProcess> processes;
};

class GpuPlan : public ::testing::Test {
 protected:
  Result<MemoryPlan> plan(const RuntimeOptions& options) {
    const ModelConfig config = small_config();
    return plan_memory(config, *make_shard(config, {}, 0), options, gpu_);
  }
  // Room for more tokens than fit, so that memory is what counts.
  void SetUp() override { options_.max_sequences = 64; }
  static double gib(size_t bytes) { return static_cast<double>(bytes) / (1 << 30); }

  static constexpr double kBlock = 0.25;  // GiB
  FakeGpu gpu_;
  RuntimeOptions options_ = small_options();
};

TEST_F(GpuPlan, TakesAllThatIsFreeButALittle) {
  options_.kv_cache_bytes = options_.num_blocks = 0;
  const auto made = plan(options_);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->limits.kv_dtype, DType::kBF16);
  EXPECT_EQ(made->kv_bytes_a_token, FakeGpu::kTokenBytes)
      << "the backend's own block is no token's";
  EXPECT_NEAR(gib(made->kv_bytes + made->scratch_bytes + made->weights_bytes),
              79 - 1.2 - kBlock / 2, kBlock / 2);
}

TEST_F(GpuPlan, AShareIsACeiling) {
  options_.kv_cache_bytes = options_.num_blocks = 0;
  options_.memory_share = 0.5;
  const auto made = plan(options_);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_NEAR(gib(made->kv_bytes + made->scratch_bytes + made->weights_bytes),
              40 - 0.5 - kBlock / 2, kBlock / 2);
}

TEST_F(GpuPlan, EachGpusContextCountsUnderAShare) {
  options_.kv_cache_bytes = options_.num_blocks = 0;
  options_.memory_share = 0.5;
  const ModelConfig config = small_config();
  const auto made = plan_memory(config, *make_shard(config, {2, false}, 0), options_, gpu_);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_NEAR(gib(made->kv_bytes + made->scratch_bytes + made->weights_bytes),
              (40 - 2 * 0.5) / 2 - kBlock / 2, kBlock / 2);
}

TEST_F(GpuPlan, NamesWhatOthersHold) {
  options_.kv_cache_bytes = options_.num_blocks = 0;
  gpu_.free = size_t{1} << 29;
  const auto made = plan(options_);
  ASSERT_FALSE(made);
  EXPECT_TRUE(made.error().message.ends_with("; other processes hold about 79.00 GiB of it"))
      << made.error().message;

  gpu_.processes = {{4711, "python3", size_t{78} << 30}, {815, "", 0}};
  EXPECT_TRUE(plan(options_).error().message.ends_with(
      "79.00 GiB of it: python3 (process 4711) with 78.00 GiB, process 815"))
      << plan(options_).error().message;
  for (int32_t pid = 1; pid < 6; ++pid) gpu_.processes.push_back({pid, "m2", 0});
  EXPECT_TRUE(plan(options_).error().message.ends_with("m2 (process 2) and 3 more"))
      << plan(options_).error().message;
}

}  // namespace
}  // namespace m2
