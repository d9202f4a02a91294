// The runtime on a GPU, driven as the engine drives it; skipped where there is none.
#include <gtest/gtest.h>

#include "backend/backend.h"
#include "loader/dummy.h"
#include "runtime/runtime.h"
#include "tests/runtime/driver.h"

namespace m2::test {
namespace {

// Shapes that the kernels of one-token steps serve.
ModelConfig gpu_config() {
  ModelConfig config;
  config.hidden_size = 256;
  config.num_layers = 3;
  config.num_heads = 16;
  config.num_kv_heads = 8;
  config.head_dim = 128;
  config.rotary_dim = 64;
  config.expert_width = 512;
  config.num_experts = 8;
  config.experts_per_token = 2;
  config.vocab_size = 1024;
  config.max_position_embeddings = 4096;
  config.rope_theta = 5e6;
  return config;
}

class GpuRuntime : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = open_backend({.device = "cuda"});
    if (!opened) GTEST_SKIP() << "needs an NVIDIA GPU: " << opened.error().message;
    backend_ = std::move(*opened);
    options_.device = "cuda";
    options_.max_sequences = 16;
    options_.max_step_tokens = 256;
    options_.num_blocks = 64;
    options_.max_model_tokens = 512;
  }
  Result<Runtime> make() const {
    const LoadWeights load = [](const ModelConfig& config, const Shard& shard, HostMemory& memory) {
      fill_dummy(config, shard, 5, 2, memory.data());
      return Status{};
    };
    return make_runtime(gpu_config(), options_, load);
  }
  std::vector<TokenId> reply(Runtime& runtime) const {
    std::vector<TokenId> prompt(50);
    for (int32_t i = 0; i < 50; ++i) prompt[i] = 7 * i + 1;
    return Driver(*runtime.executors[0]).generate(prompt, 60);
  }

  std::unique_ptr<Backend> backend_;
  RuntimeOptions options_;
};

TEST_F(GpuRuntime, RepliesAreTheSameInEveryGraphMode) {
  std::vector<TokenId> launched;
  for (const GraphMode mode : {GraphMode::kNone, GraphMode::kPiecewise, GraphMode::kFullDecodeOnly,
                               GraphMode::kFullAndPiecewise}) {
    options_.graphs.mode = mode;
    auto runtime = make();
    ASSERT_TRUE(runtime) << runtime.error().message;
    const auto tokens = reply(*runtime);
    ASSERT_EQ(tokens.size(), 60u);
    if (launched.empty()) launched = tokens;
    EXPECT_EQ(tokens, launched) << int(mode);
  }
}

TEST_F(GpuRuntime, TakesNoMemoryAfterTheStart) {
  auto runtime = make();
  ASSERT_TRUE(runtime) << runtime.error().message;
  reply(*runtime);  // a prompt past the graphs' sizes brings its kernels' code
  const size_t free = backend_->free_bytes();
  for (int i = 0; i < 5; ++i) reply(*runtime);
  EXPECT_EQ(backend_->free_bytes(), free);
}

TEST_F(GpuRuntime, SeveralRanksAreTheCpusWhereAnyDeviceWillDo) {
  options_.parallelism.tensor_parallel = 8;
  auto refused = make();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().field, "tensor-parallel-size");
  options_.device = "auto";
  auto runtime = make();
  ASSERT_TRUE(runtime) << runtime.error().message;
  EXPECT_TRUE(runtime->device.starts_with("cpu")) << runtime->device;
  EXPECT_NE(runtime->device.find("the GPU is not used: tensor"), std::string::npos)
      << runtime->device;
}

}  // namespace
}  // namespace m2::test
