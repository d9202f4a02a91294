#include "cli/gpu_plan.h"

#include <algorithm>
#include <string>

#include "backend/cuda_plugin.h"
#include "base/divide_up.h"
#include "model/weights.h"
#include "runtime/memory_plan.h"

namespace m2::cli {
namespace {

constexpr GpuKind kKinds[] = {{"h20-96", "H20 of 96 GB", 97'871},
                              {"h20-141", "H20 of 141 GB", 143'771},
                              {"h100", "H100 of 80 GB", 81'559},
                              {"h200", "H200 of 141 GB", 143'771},
                              {"a100-80", "A100 of 80 GB", 81'920}};

// Of the bound: recorded steps, uploads, and what rounding adds.
constexpr size_t kFixedWorkingBytes = size_t{192} << 20;

class PlannedGpus final : public Backend {
 public:
  PlannedGpus(size_t bytes, int32_t ranks, const GraphOptions& graphs)
      : bytes_(bytes),
        ranks_(static_cast<size_t>(ranks)),
        graphs_(graphs),
        counted_(find_cuda_memory()) {}

  std::string name() const override { return "cuda"; }
  std::string detail() const override { return "planned"; }
  bool may_spin() const override { return false; }
  Status serves(const ModelConfig&, const Shard&) const override { return {}; }
  DType kv_dtype() const override { return DType::kBF16; }
  size_t free_bytes() const override {
    return ranks_ * (bytes_ - std::min(bytes_, kGpuContextBytes));
  }
  size_t total_bytes() const override { return ranks_ * bytes_; }
  OpsMemory memory_for(const ModelConfig& config, const Shard& shard,
                       const OpsLimits& limits) const override {
    OpsMemory memory;
    if (counted_ != nullptr) {
      counted_(config, shard, limits, graphs_, &memory);
      return memory;
    }
    const size_t tokens =
        static_cast<size_t>(limits.num_blocks) * static_cast<size_t>(limits.block_tokens);
    const size_t row = static_cast<size_t>(shard.num_kv_heads) *
                       static_cast<size_t>(config.head_dim) * dtype_bytes(limits.kv_dtype);
    return {.kv_bytes = 2 * static_cast<size_t>(config.num_layers) * tokens * row,
            .scratch_bytes = most_working_bytes(config, shard, limits)};
  }
  Result<DeviceRates> measure_rates() const override {
    return fail(ErrorKind::kUnsupported, "device", "a planned device has no rates");
  }
  Result<std::unique_ptr<WeightBlock>> make_weights(size_t, const Shard&) override {
    return fail(ErrorKind::kUnsupported, "device", "a planned device holds nothing");
  }
  Result<std::unique_ptr<Ops>> make_ops(const ModelConfig&, const Shard&,
                                        const OpsLimits&) override {
    return fail(ErrorKind::kUnsupported, "device", "a planned device runs nothing");
  }

 private:
  const size_t bytes_, ranks_;
  const GraphOptions graphs_;
  const PluginMemory counted_;  // null without the plug-in
};

}  // namespace

std::span<const GpuKind> gpu_kinds() { return kKinds; }

Result<GpuKind> find_gpu(std::string_view name) {
  std::string known;
  for (const GpuKind& kind : kKinds) {
    if (kind.name == name) return kind;
    known += (known.empty() ? "" : ", ") + std::string(kind.name);
  }
  return invalid("gpu", "--gpu must be one of {}; for another one give --gpu-memory-gib; got '{}'",
                 known, name);
}

std::unique_ptr<Backend> make_planned_gpus(size_t bytes, int32_t ranks,
                                           const GraphOptions& graphs) {
  return std::make_unique<PlannedGpus>(bytes, ranks, graphs);
}

// What every token of a step keeps between ops, every sequence, and every row that is sampled.
size_t most_working_bytes(const ModelConfig& config, const Shard& shard, const OpsLimits& limits) {
  const auto size = [](int64_t count) { return static_cast<size_t>(count); };
  const int64_t heads = shard.num_heads, choices = config.experts_per_token;
  const int64_t qkv = (heads + 2 * int64_t{shard.num_kv_heads}) * config.head_dim;
  const size_t a_token = size(config.hidden_size * int64_t{4} + config.num_experts * int64_t{4} +
                              choices * (config.hidden_size * int64_t{4} + 32) + 512);
  const size_t a_sequence =
      size(heads * (config.head_dim + 2) * 4 + config.vocab_size * int64_t{2} +
           divide_up(limits.max_model_tokens, limits.block_tokens) * 4);
  // A row's mask is a bit an id; lists of ids there are for one request at its longest.
  const size_t a_row = size(shard.vocab_count * int64_t{4} + config.vocab_size / 4 + 2048 +
                            config.hidden_size * int64_t{2});
  const size_t lists = size(limits.max_model_tokens * int64_t{8} + config.vocab_size * int64_t{48});
  // Layers and sampling take turns in one place.
  const size_t layers = size(limits.max_step_tokens *
                             (config.hidden_size * int64_t{4} + qkv * 4 +
                              heads * config.head_dim * 4 + choices * shard.expert_columns * 2));
  const size_t sampling = size(limits.max_sample_rows * shard.vocab_count * 4);
  return kFixedWorkingBytes + size(limits.max_step_tokens) * a_token +
         size(limits.max_sequences + 1) * a_sequence + size(limits.max_sample_rows) * a_row +
         lists + std::max(layers, sampling);
}

bool counts_exactly() { return find_cuda_memory() != nullptr; }

}  // namespace m2::cli
