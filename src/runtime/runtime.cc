#include "runtime/runtime.h"

#include <utility>

#include "backend/backend.h"
#include "runtime/make_ranks.h"
#include "runtime/rank_group.h"

namespace m2 {
namespace {

constexpr int32_t kMaxReplicas = 64;

Status check_replicas(int32_t replicas) {
  if (replicas >= 1 && replicas <= kMaxReplicas) return {};
  return invalid("data-parallel-size", "data-parallel-size must be in [1, {}], got {}",
                 kMaxReplicas, replicas);
}

// A GPU that cannot run this model, or not so, is passed by where any device will do.
Result<std::unique_ptr<Backend>> choose_backend(const ModelConfig& config, const Shard& shard,
                                                const RuntimeOptions& options) {
  BackendOptions wanted{.device = options.device,
                        .threads = options.threads,
                        .ranks = shard.size * options.replicas,
                        .graphs = options.graphs,
                        .plain_kernels = options.plain_kernels};
  M2_ASSIGN(auto backend, open_backend(wanted));
  const Status served = backend->serves(config, shard);
  if (served) return backend;
  if (options.device != "auto") return tl::unexpected(served.error());
  wanted.device = "cpu";
  wanted.reason = fmt::format("the GPU is not used: {}", served.error().message);
  return open_backend(wanted);
}

struct PlannedDevice {
  std::unique_ptr<Backend> backend;
  MemoryPlan plan;
};

Result<PlannedDevice> plan_device(const ModelConfig& config, const RuntimeOptions& options) {
  M2_ASSIGN(const Shard shard, make_shard(config, options.parallelism, 0));
  M2_TRY(check_replicas(options.replicas));
  PlannedDevice out;
  M2_ASSIGN(out.backend, choose_backend(config, shard, options));
  auto plan = plan_memory(config, shard, options, *out.backend);
  if (!plan) {
    // Whoever has GPUs wants to know why it is the CPU whose memory is too small.
    Error& error = plan.error();
    if (error.kind == ErrorKind::kUnavailable) error.message += "; on " + out.backend->detail();
    return tl::unexpected(std::move(error));
  }
  out.plan = *plan;
  return out;
}

}  // namespace

Result<MemoryPlan> plan_runtime(const ModelConfig& config, const RuntimeOptions& options) {
  M2_ASSIGN(const PlannedDevice device, plan_device(config, options));
  return device.plan;
}

Result<Runtime> make_runtime(const ModelConfig& config, const RuntimeOptions& options,
                             const LoadWeights& load) {
  M2_ASSIGN(const PlannedDevice device, plan_device(config, options));
  Backend* const backend = device.backend.get();
  Runtime runtime;
  runtime.plan = device.plan;
  runtime.backend = backend->name();
  runtime.device = backend->detail();
  const OpsLimits& limits = runtime.plan.limits;
  for (int32_t i = 0; i < options.replicas; ++i) {
    M2_ASSIGN(auto ranks,
              make_ranks(config, options.parallelism, limits, load, *backend, options.warming_up));
    runtime.executors.push_back(
        std::make_unique<RankGroup>(std::move(ranks), capacity_of(config, limits)));
  }
  return runtime;
}

}  // namespace m2
