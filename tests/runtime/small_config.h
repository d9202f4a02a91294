// A model of two layers whose steps take microseconds, with random weights and options to match.
#pragma once

#include "loader/dummy.h"
#include "runtime/runtime.h"

namespace m2::test {

inline ModelConfig small_config() {
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

inline Status fill(const ModelConfig& config, const Shard& shard, WeightBlock& block) {
  return fill_dummy(config, shard, 1, 1, block);
}

inline RuntimeOptions small_options() {
  RuntimeOptions options;
  options.max_sequences = 4;
  options.max_step_tokens = 64;
  options.num_blocks = 64;
  options.max_model_tokens = 256;
  options.threads = 2;
  return options;
}

}  // namespace m2::test
