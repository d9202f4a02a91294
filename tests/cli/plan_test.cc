// The bars that the deployment guide promises, by the plan that `m2 serve` makes too.
#include <gtest/gtest.h>

#include "backend/cuda_plugin.h"
#include "cli/gpu_plan.h"
#include "cli/known_models.h"
#include "runtime/runtime.h"

namespace m2::cli {
namespace {

struct Case {
  const char* gpu;
  int32_t ranks;
  bool experts;
  double share;  // 0: not given
  int64_t least_tokens;
};

int64_t tokens_of(const Case& c, std::optional<DType> kv_dtype) {
  const ModelConfig config = *known_config("MiniMaxAI/MiniMax-M2.5");
  RuntimeOptions options;
  options.parallelism = {c.ranks, c.experts};
  options.memory_share = c.share;
  options.kv_dtype = kv_dtype;
  const auto shard = make_shard(config, options.parallelism, 0);
  EXPECT_TRUE(shard.has_value());
  const auto backend = make_planned_gpus(find_gpu(c.gpu)->mib << 20, c.ranks, {});
  const auto plan = plan_memory(config, *shard, options, *backend);
  if (!plan) {
    ADD_FAILURE() << plan.error().message;
    return 0;
  }
  EXPECT_EQ(plan->limits.max_model_tokens, 196'608);
  EXPECT_FALSE(plan->length_shrunk);
  return plan->kv_tokens();
}

TEST(PlanTest, HoldsWhatTheGuidePromises) {
  const Case cases[] = {{"h20-96", 4, false, 0, 640'000},
                        {"h20-96", 4, false, 0.92, 558'000},
                        {"h20-141", 8, true, 0, 3'600'000},
                        {"h20-141", 8, true, 0.92, 3'416'000},
                        {"h200", 4, false, 0, 1'350'000}};
  for (const Case& c : cases) {
    const int64_t bf16 = tokens_of(c, std::nullopt);
    EXPECT_GE(bf16, c.least_tokens) << c.gpu << " x " << c.ranks << " at " << c.share;
    EXPECT_GE(tokens_of(c, DType::kF8E4M3), 2 * c.least_tokens);
  }
}

// Where the plug-in is beside this program: the bound that stands for it is one, and no wild one.
TEST(PlanTest, TheBoundHoldsWhatThePluginCounts) {
  const PluginMemory count = find_cuda_memory();
  if (count == nullptr) GTEST_SKIP() << "the GPU plug-in is not here";
  const ModelConfig config = *known_config("MiniMaxAI/MiniMax-M2.5");
  for (const int32_t ranks : {1, 4, 8}) {
    for (const int32_t tokens : {512, 2048, 8192, 65536}) {
      for (const int32_t sequences : {1, 64, 256, 512}) {
        const Shard shard = *make_shard(config, {ranks, ranks == 8}, 0);
        OpsLimits limits;
        limits.num_blocks = 1000;
        limits.block_tokens = 16;
        limits.max_step_tokens = tokens;
        limits.max_sequences = sequences;
        limits.max_sample_rows = std::max(64, sequences);
        limits.max_model_tokens = config.max_position_embeddings;
        limits.real_vocab = config.vocab_size;
        limits.kv_dtype = DType::kBF16;
        OpsMemory memory;
        count(config, shard, limits, {}, &memory);
        const size_t counted = memory.scratch_bytes + memory.graph_bytes;
        const size_t most = most_working_bytes(config, shard, limits);
        const auto what = fmt::format("{} ranks, {} tokens, {} sequences: {} of {} MiB", ranks,
                                      tokens, sequences, counted >> 20, most >> 20);
        EXPECT_LE(counted, most) << what;
        EXPECT_LE(most, 2 * counted + (size_t{512} << 20)) << what;
      }
    }
  }
}

TEST(PlanTest, SaysWhatDoesNotFit) {
  const ModelConfig config = *known_config("MiniMaxAI/MiniMax-M2");
  RuntimeOptions options;
  options.parallelism = {2, false};
  const auto shard = make_shard(config, options.parallelism, 0);
  const auto backend = make_planned_gpus(find_gpu("h100")->mib << 20, 2, {});
  const auto plan = plan_memory(config, *shard, options, *backend);
  ASSERT_FALSE(plan.has_value());
  const std::string& said = plan.error().message;
  EXPECT_NE(said.find("weights"), std::string::npos) << said;
  EXPECT_NE(said.find("of 2 GPUs' 159.29 GiB"), std::string::npos) << said;
  EXPECT_EQ(said.find("other processes"), std::string::npos)
      << "of GPUs that are planned: " << said;
}

// A GPU's memory is what there is: nobody's length is lowered without their word.
TEST(PlanTest, AGpuLowersNoLength) {
  const ModelConfig config = *known_config("MiniMaxAI/MiniMax-M2");
  RuntimeOptions options;
  options.parallelism = {4, false};
  const auto shard = make_shard(config, options.parallelism, 0);
  const auto backend = make_planned_gpus(size_t{64} << 30, 4, {});
  const auto refused = plan_memory(config, *shard, options, *backend);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().field, "max-model-len");
  options.fit_length = true;
  const auto plan = plan_memory(config, *shard, options, *backend);
  ASSERT_TRUE(plan.has_value()) << plan.error().message;
  EXPECT_LT(plan->limits.max_model_tokens, config.max_position_embeddings);
  const std::string most =
      fmt::format("at most {} tokens fit; --max-model-len auto", plan->limits.max_model_tokens);
  EXPECT_NE(refused.error().message.find(most), std::string::npos) << refused.error().message;
}

TEST(PlanTest, KnowsThePublishedNames) {
  EXPECT_EQ(known_config("MiniMaxAI/MiniMax-M2.7")->max_position_embeddings, 204'800);
  EXPECT_TRUE(known_config("MiniMaxAI/MiniMax-M2.1"));
  EXPECT_FALSE(known_config("MiniMaxAI/MiniMax-M3"));
  EXPECT_FALSE(find_gpu("h999"));
}

}  // namespace
}  // namespace m2::cli
