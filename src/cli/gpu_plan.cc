#include "cli/gpu_plan.h"

#include <algorithm>
#include <string>

#include "model/weights.h"

namespace m2::cli {
namespace {

constexpr GpuKind kKinds[] = {{"h20-96", "H20 of 96 GB", 97'871},
                              {"h20-141", "H20 of 141 GB", 143'771},
                              {"h100", "H100 of 80 GB", 81'559},
                              {"h200", "H200 of 141 GB", 143'771},
                              {"a100-80", "A100 of 80 GB", 81'920}};

// What a process takes of a GPU before it allocates anything, about; and the most that the ops of
// one rank work in.
constexpr size_t kContextBytes = size_t{512} << 20;
constexpr size_t kWorkingBytes = size_t{1} << 30;

class PlannedGpus final : public Backend {
 public:
  PlannedGpus(size_t bytes, int32_t ranks) : bytes_(bytes), ranks_(static_cast<size_t>(ranks)) {}

  std::string name() const override { return "cuda"; }
  std::string detail() const override { return "planned"; }
  bool may_spin() const override { return false; }
  Status serves(const ModelConfig&, const Shard&) const override { return {}; }
  DType kv_dtype() const override { return DType::kBF16; }
  size_t free_bytes() const override { return ranks_ * (bytes_ - std::min(bytes_, kContextBytes)); }
  size_t total_bytes() const override { return ranks_ * bytes_; }
  OpsMemory memory_for(const ModelConfig& config, const Shard& shard,
                       const OpsLimits& limits) const override {
    const size_t tokens =
        static_cast<size_t>(limits.num_blocks) * static_cast<size_t>(limits.block_tokens);
    const size_t row = static_cast<size_t>(shard.num_kv_heads) *
                       static_cast<size_t>(config.head_dim) * dtype_bytes(limits.kv_dtype);
    return {.kv_bytes = 2 * static_cast<size_t>(config.num_layers) * tokens * row,
            .scratch_bytes = kWorkingBytes};
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

std::unique_ptr<Backend> make_planned_gpus(size_t bytes, int32_t ranks) {
  return std::make_unique<PlannedGpus>(bytes, ranks);
}

}  // namespace m2::cli
