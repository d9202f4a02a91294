// Whole models in tests: random or from a folder, run over sequences whose KV blocks the test hands
// out itself.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/cpu/cpu_ops.h"
#include "loader/checkpoint.h"
#include "loader/dummy.h"
#include "model/config.h"
#include "model/forward.h"
#include "model/shard.h"
#include "parallel/self_communicator.h"

namespace m2::test {

struct Model {
  ModelConfig config;
  Shard shard;
  HostMemory memory;
  Weights weights;
};

inline Model dummy_model(const ModelConfig& config, uint64_t seed) {
  Model model{config, *make_shard(config, {}, 0), {}, {}};
  model.memory = HostMemory(weights_bytes(config, model.shard));
  fill_dummy(config, model.shard, seed, 1, model.memory.data());
  model.weights = weights_at(config, model.shard, model.memory.data());
  return model;
}

inline Model copy_of(const Model& model) {
  Model copy{model.config, model.shard, HostMemory(model.memory.bytes()), {}};
  std::copy_n(model.memory.data(), model.memory.bytes(), copy.memory.data());
  copy.weights = weights_at(copy.config, copy.shard, copy.memory.data());
  return copy;
}

inline Result<Model> load_model(const std::string& folder) {
  Model model;
  M2_ASSIGN(model.config, load_config(folder));
  M2_ASSIGN(model.shard, make_shard(model.config, {}, 0));
  M2_ASSIGN(const auto checkpoint, Checkpoint::open(folder, model.config));
  model.memory = HostMemory(weights_bytes(model.config, model.shard));
  M2_TRY(checkpoint.load(model.shard, 2, model.memory.data()));
  model.weights = weights_at(model.config, model.shard, model.memory.data());
  return model;
}

// A shape with every kind of grouping in it: 3 query heads a KV head, more experts than chosen.
inline ModelConfig small_config() {
  ModelConfig config;
  config.hidden_size = 256;
  config.num_layers = 2;
  config.num_heads = 6;
  config.num_kv_heads = 2;
  config.head_dim = 128;
  config.rotary_dim = 64;
  config.expert_width = 128;
  config.num_experts = 8;
  config.experts_per_token = 3;
  config.vocab_size = 320;
  config.max_position_embeddings = 4096;
  config.rope_theta = 5e6;
  return config;
}

inline OpsLimits small_limits(const ModelConfig& config) {
  return {.max_step_tokens = 1024,
          .max_sequences = 32,
          .max_sample_rows = 1024,
          .max_model_tokens = 1024,
          .num_blocks = 256,
          .block_tokens = 16,
          .kv_dtype = DType::kF32,
          .real_vocab = config.vocab_size};
}

// One sequence's part of a step.
struct Piece {
  std::vector<int32_t> tokens;
  int32_t context = 0;
  std::vector<int32_t> blocks;
  int32_t slot = 0;
};

using Logits = std::vector<float>;  // [vocab] of one position

// A model on some ops, with weights of its own: the ops may rewrite them.
class Runner {
 public:
  Runner(const Model& model, std::unique_ptr<Ops> ops)
      : model_(copy_of(model)), ops_(std::move(ops)), forward_(model_.weights, *ops_, self_) {
    (void)ops_->adopt(model_.weights);
  }
  // On the CPU ops.
  Runner(const Model& model, const OpsLimits& limits, const Kernels& kernels = fast_kernels(),
         int32_t threads = 2)
      : Runner(model,
               std::move(*CpuOps::create(model.config, model.shard, limits, kernels, threads))) {}

  const Model& model() const { return model_; }  // its own copy

  // One step; the logits of all its tokens, in order.
  std::vector<Logits> step(const std::vector<Piece>& pieces) {
    std::vector<int32_t> tokens;
    std::vector<BatchRow> rows;
    for (const Piece& piece : pieces) {
      rows.push_back({piece.slot, static_cast<int32_t>(tokens.size()),
                      static_cast<int32_t>(piece.tokens.size()), piece.context, piece.blocks});
      tokens.insert(tokens.end(), piece.tokens.begin(), piece.tokens.end());
    }
    forward_.run({tokens, rows});
    std::vector<SampleRequest> requests(tokens.size());
    for (size_t i = 0; i < requests.size(); ++i) requests[i].token_index = static_cast<int32_t>(i);
    ops_->head(requests, model_.weights.final_norm, model_.weights.lm_head);
    Logits all(tokens.size() * model_.config.vocab_size);
    (void)ops_->read_logits(all);
    std::vector<Logits> result;
    for (size_t i = 0; i < tokens.size(); ++i) {
      const auto begin = all.begin() + i * model_.config.vocab_size;
      result.emplace_back(begin, begin + model_.config.vocab_size);
    }
    return result;
  }

  // A whole sequence in one slot, in chunks of `chunk` tokens, over consecutive blocks.
  std::vector<Logits> sequence(const std::vector<int32_t>& tokens, int32_t chunk,
                               int32_t first_block = 0, int32_t block_tokens = 16) {
    std::vector<Logits> result;
    Piece piece;
    const auto count = static_cast<int32_t>(tokens.size());
    for (int32_t i = 0; i * block_tokens < count; ++i) piece.blocks.push_back(first_block + i);
    for (int32_t begin = 0; begin < count; begin += chunk) {
      piece.context = begin;
      piece.tokens.assign(tokens.begin() + begin, tokens.begin() + std::min(count, begin + chunk));
      for (Logits& logits : step({piece})) result.push_back(std::move(logits));
    }
    return result;
  }

  // The `count` tokens that follow a prompt, each the most likely one.
  std::vector<int32_t> greedy(const std::vector<int32_t>& prompt, size_t count) {
    std::vector<int32_t> reply, blocks, tokens = prompt;
    for (int32_t i = 0; i < 64; ++i) blocks.push_back(i);
    BatchRow row{0, 0, static_cast<int32_t>(prompt.size()), 0, blocks};
    while (reply.size() < count) {
      forward_.run({tokens, {&row, 1}});
      SampleRequest request;
      request.token_index = row.num_tokens - 1;
      request.temperature = 0;
      forward_.sample({&request, 1});
      SampleOutput output;
      (void)ops_->collect(output);
      reply.push_back(output.rows.at(0).token);
      row.context_tokens += row.num_tokens;
      row.num_tokens = 1;
      tokens = {kLastToken};
    }
    return reply;
  }

  Forward& forward() { return forward_; }
  Ops& ops() { return *ops_; }

 private:
  Model model_;
  std::unique_ptr<Ops> ops_;
  SelfCommunicator self_;
  Forward forward_;
};

// Repeatable ids within the vocabulary.
inline std::vector<int32_t> some_tokens(int32_t count, int32_t vocab, uint32_t seed) {
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) {
    seed = seed * 1664525u + 1013904223u;
    token = static_cast<int32_t>((seed >> 8) % static_cast<uint32_t>(vocab));
  }
  return tokens;
}

}  // namespace m2::test
