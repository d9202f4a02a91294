// The trained checkpoint of the repository, read as a user's would be.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "loader/checkpoint.h"
#include "loader/generation_config.h"
#include "model/weights.h"

namespace m2 {
namespace {

const std::string kPocket = std::string(M2_SOURCE_DIR) + "/models/pocket";

TEST(PocketTest, LoadsWhole) {
  if (!std::filesystem::exists(kPocket + "/model.safetensors.index.json")) {
    GTEST_SKIP() << "models/pocket is not here";
  }
  const auto config = load_config(kPocket);
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->weight_format, WeightFormat::kFp8Block128);
  EXPECT_EQ(config->rotary_dim, 64);
  const auto checkpoint = Checkpoint::open(kPocket, *config);
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message;
  // Every layout up to 8 ranks cuts it.
  for (const int32_t ranks : {1, 2, 4, 8}) {
    for (int32_t rank = 0; rank < ranks; ++rank) {
      const auto shard = make_shard(*config, {ranks, false}, rank);
      ASSERT_TRUE(shard.has_value()) << shard.error().message;
      HostMemory memory(weights_bytes(*config, *shard));
      const Status loaded = checkpoint->load(*shard, 2, memory.data());
      ASSERT_TRUE(loaded.has_value()) << loaded.error().message;
      const Weights weights = weights_at(*config, *shard, memory.data());
      for (int64_t i = 0; i < config->hidden_size; ++i) {
        ASSERT_TRUE(std::isfinite(weights.final_norm[i]) && weights.final_norm[i] != 0);
      }
    }
  }
}

TEST(PocketTest, HasTheFamilysSamplingDefaults) {
  if (!std::filesystem::exists(kPocket + "/generation_config.json")) {
    GTEST_SKIP() << "models/pocket is not here";
  }
  const auto config = load_generation_config(kPocket);
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->eos_token_ids.size(), 1u);
  EXPECT_EQ(config->temperature, 1.0f);
  EXPECT_EQ(config->top_p, 0.95f);
  EXPECT_EQ(config->top_k, 40);
}

}  // namespace
}  // namespace m2
