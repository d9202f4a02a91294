#include "cli/known_models.h"

namespace m2::cli {
namespace {

struct Known {
  std::string_view repository;
  int32_t positions;
};

constexpr Known kKnown[] = {{"MiniMaxAI/MiniMax-M2", 196'608},
                            {"MiniMaxAI/MiniMax-M2.1", 196'608},
                            {"MiniMaxAI/MiniMax-M2.5", 196'608},
                            {"MiniMaxAI/MiniMax-M2.7", 204'800}};

}  // namespace

std::optional<ModelConfig> known_config(std::string_view repository) {
  for (const Known& known : kKnown) {
    if (known.repository != repository) continue;
    ModelConfig config;
    config.hidden_size = 3072;
    config.num_layers = 62;
    config.num_heads = 48;
    config.num_kv_heads = 8;
    config.head_dim = 128;
    config.rotary_dim = 64;
    config.expert_width = 1536;
    config.num_experts = 256;
    config.experts_per_token = 8;
    config.vocab_size = 200'064;
    config.max_position_embeddings = known.positions;
    config.rope_theta = 5'000'000;
    config.num_mtp_layers = 3;
    return config;
  }
  return std::nullopt;
}

}  // namespace m2::cli
