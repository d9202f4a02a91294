#include "backend/backend.h"

#include <algorithm>

#include "backend/cpu/cpu_ops.h"
#include "backend/cpu/host.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/machine_probe.h"
#include "backend/cuda_plugin.h"

namespace m2 {
namespace {

// Host memory of the ops' own.
class OwnBlock final : public HostBlock {
 public:
  explicit OwnBlock(HostMemory memory) : HostBlock(memory.data()), memory_(std::move(memory)) {}

 private:
  HostMemory memory_;
};

class CpuBackend final : public Backend {
 public:
  CpuBackend(int32_t threads, int32_t ranks, bool may_spin, std::string reason,
             const Kernels& kernels)
      : threads_(threads),
        ranks_(ranks),
        may_spin_(may_spin),
        reason_(std::move(reason)),
        kernels_(kernels) {}

  std::string name() const override { return "cpu"; }
  std::string detail() const override {
    return fmt::format("cpu, {} kernels, {} thread{} a rank: {}", kernels_.name, threads_,
                       threads_ == 1 ? "" : "s", reason_);
  }
  bool may_spin() const override { return may_spin_; }
  Status serves(const ModelConfig&, const Shard&) const override { return {}; }
  DType kv_dtype() const override { return DType::kF32; }
  size_t free_bytes() const override { return free_memory_bytes(); }
  OpsMemory memory_for(const ModelConfig& config, const Shard& shard,
                       const OpsLimits& limits) const override {
    return CpuOps::memory_for(config, shard, limits, threads_);
  }
  Result<DeviceRates> measure_rates() const override {
    const int32_t threads = threads_ * ranks_;
    return DeviceRates{measure_read_rate(threads), measure_fma_rate(threads), "fp32 multiply-adds"};
  }
  Result<std::unique_ptr<WeightBlock>> make_weights(size_t bytes, const Shard&) override {
    HostMemory memory(bytes);
    if (memory.data() == nullptr) {
      return fail(ErrorKind::kUnavailable, "", "the system refused {} bytes for the weights",
                  bytes);
    }
    return std::make_unique<OwnBlock>(std::move(memory));
  }
  Result<std::unique_ptr<Ops>> make_ops(const ModelConfig& config, const Shard& shard,
                                        const OpsLimits& limits) override {
    M2_ASSIGN(auto ops, CpuOps::create(config, shard, limits, kernels_, threads_));
    return ops;
  }

 private:
  const int32_t threads_, ranks_;
  const bool may_spin_;
  const std::string reason_;
  const Kernels& kernels_;
};

}  // namespace

Result<std::unique_ptr<Backend>> open_backend(const BackendOptions& options) {
  std::string reason;
  if (options.device == "cpu") {
    reason = options.reason.empty() ? "asked for" : options.reason;
  } else if (options.device == "auto" || options.device == "cuda") {
    auto cuda = open_cuda(first_cuda_device(), options);
    if (cuda) return cuda;
    if (options.device == "cuda") {
      return fail(cuda.error().kind, "device", "device cuda: {}", cuda.error().message);
    }
    reason = cuda.error().message;
  } else {
    return invalid("device", "device must be auto, cpu or cuda, got \"{}\"", options.device);
  }
  const int32_t cores = options.threads > 0 ? options.threads : usable_cores();
  const int32_t threads = std::max(1, cores / std::max(1, options.ranks));
  const bool may_spin = int64_t{threads} * std::max(1, options.ranks) <= usable_cores();
  return std::make_unique<CpuBackend>(threads, std::max(1, options.ranks), may_spin,
                                      std::move(reason),
                                      options.plain_kernels ? plain_kernels() : fast_kernels());
}

}  // namespace m2
