// A small model on a GPU for tests of the runtime; they are skipped where there is none.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "loader/dummy.h"
#include "parallel/self_communicator.h"
#include "runtime/runtime.h"

namespace m2::test {

// Shapes that the kernels of one-token steps serve.
inline ModelConfig gpu_config() {
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

class GpuFixture : public ::testing::Test {
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
  static LoadWeights load() {
    return [](const ModelConfig& config, const Shard& shard, WeightBlock& block) {
      return fill_dummy(config, shard, 5, 2, block);
    };
  }
  Result<Runtime> make() const { return make_runtime(gpu_config(), options_, load()); }

  static Shard shard() { return *make_shard(gpu_config(), {}, 0); }
  OpsLimits limits() const {
    return {.max_step_tokens = options_.max_step_tokens,
            .max_sequences = options_.max_sequences,
            .max_sample_rows = options_.max_sequences,
            .max_model_tokens = options_.max_model_tokens,
            .num_blocks = options_.num_blocks,
            .block_tokens = 16,
            .kv_dtype = DType::kBF16,
            .real_vocab = gpu_config().vocab_size};
  }

  std::unique_ptr<Backend> backend_;
  RuntimeOptions options_;
};

}  // namespace m2::test
