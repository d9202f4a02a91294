// The bars that the deployment guide promises, by the plan that `m2 serve` makes too.
#include <gtest/gtest.h>

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
  const auto backend = make_planned_gpus(find_gpu(c.gpu)->mib << 20, c.ranks);
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

TEST(PlanTest, SaysWhatDoesNotFit) {
  const ModelConfig config = *known_config("MiniMaxAI/MiniMax-M2");
  RuntimeOptions options;
  options.parallelism = {2, false};
  const auto shard = make_shard(config, options.parallelism, 0);
  const auto backend = make_planned_gpus(find_gpu("h100")->mib << 20, 2);
  const auto plan = plan_memory(config, *shard, options, *backend);
  ASSERT_FALSE(plan.has_value());
  EXPECT_NE(plan.error().message.find("weights"), std::string::npos) << plan.error().message;
}

TEST(PlanTest, KnowsThePublishedNames) {
  EXPECT_EQ(known_config("MiniMaxAI/MiniMax-M2.7")->max_position_embeddings, 204'800);
  EXPECT_TRUE(known_config("MiniMaxAI/MiniMax-M2.1"));
  EXPECT_FALSE(known_config("MiniMaxAI/MiniMax-M3"));
  EXPECT_FALSE(find_gpu("h999"));
}

}  // namespace
}  // namespace m2::cli
