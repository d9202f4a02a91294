#include "runtime/runtime.h"

#include <utility>

#include "backend/backend.h"
#include "runtime/make_ranks.h"
#include "runtime/rank_group.h"

namespace m2 {

Result<Runtime> make_runtime(const ModelConfig& config, const RuntimeOptions& options,
                             const LoadWeights& load) {
  M2_ASSIGN(const Shard shard, make_shard(config, options.parallelism, 0));
  M2_ASSIGN(
      auto backend,
      open_backend({.device = options.device, .threads = options.threads, .ranks = shard.size}));
  if (shard.size > 1) {
    // Ranks over a LocalCommunicator compute every layout; what is missing is the rest of serving.
    return fail(ErrorKind::kUnsupported, "tensor-parallel-size",
                "tensor parallel size {} is not served on the CPU yet: this version runs one rank",
                shard.size);
  }
  Runtime runtime;
  M2_ASSIGN(runtime.plan, plan_memory(config, shard, options, *backend));
  runtime.device = backend->detail();
  const OpsLimits& limits = runtime.plan.limits;
  M2_ASSIGN(auto ranks, make_ranks(config, options.parallelism, limits, load, *backend));
  runtime.executor = std::make_unique<RankGroup>(std::move(ranks), capacity_of(config, limits));
  return runtime;
}

}  // namespace m2
