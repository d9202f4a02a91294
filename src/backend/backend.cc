#include "backend/backend.h"

#include <algorithm>

#include "backend/cpu/cpu_ops.h"
#include "backend/cpu/host.h"
#include "backend/cpu/kernels.h"

namespace m2 {
namespace {

class CpuBackend final : public Backend {
 public:
  CpuBackend(int32_t threads, std::string reason)
      : threads_(threads), reason_(std::move(reason)), kernels_(fast_kernels()) {}

  std::string name() const override { return "cpu"; }
  std::string detail() const override {
    return fmt::format("cpu, {} kernels, {} thread{} a rank: {}", kernels_.name, threads_,
                       threads_ == 1 ? "" : "s", reason_);
  }
  size_t free_bytes() const override { return free_memory_bytes(); }
  OpsMemory memory_for(const ModelConfig& config, const Shard& shard,
                       const OpsLimits& limits) const override {
    return CpuOps::memory_for(config, shard, limits, threads_);
  }
  Result<std::unique_ptr<Ops>> make_ops(const ModelConfig& config, const Shard& shard,
                                        const OpsLimits& limits) override {
    M2_ASSIGN(auto ops, CpuOps::create(config, shard, limits, kernels_, threads_));
    return ops;
  }

 private:
  const int32_t threads_;
  const std::string reason_;
  const Kernels& kernels_;
};

}  // namespace

Result<std::unique_ptr<Backend>> open_backend(const BackendOptions& options) {
  std::string reason;
  if (options.device == "cpu") {
    reason = "asked for";
  } else if (options.device == "auto") {
    reason = "this build has no GPU plug-in";
  } else if (options.device == "cuda") {
    return fail(ErrorKind::kUnsupported, "device", "device cuda: this build has no GPU plug-in");
  } else {
    return invalid("device", "device must be auto, cpu or cuda, got \"{}\"", options.device);
  }
  const int32_t cores = options.threads > 0 ? options.threads : usable_cores();
  const int32_t threads = std::max(1, cores / std::max(1, options.ranks));
  return std::make_unique<CpuBackend>(threads, std::move(reason));
}

}  // namespace m2
