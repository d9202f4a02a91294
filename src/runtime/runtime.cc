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

}  // namespace

Result<Runtime> make_runtime(const ModelConfig& config, const RuntimeOptions& options,
                             const LoadWeights& load) {
  M2_ASSIGN(const Shard shard, make_shard(config, options.parallelism, 0));
  M2_TRY(check_replicas(options.replicas));
  M2_ASSIGN(auto backend, open_backend({.device = options.device,
                                        .threads = options.threads,
                                        .ranks = shard.size * options.replicas}));
  Runtime runtime;
  M2_ASSIGN(runtime.plan, plan_memory(config, shard, options, *backend));
  runtime.device = backend->detail();
  const OpsLimits& limits = runtime.plan.limits;
  for (int32_t i = 0; i < options.replicas; ++i) {
    M2_ASSIGN(auto ranks, make_ranks(config, options.parallelism, limits, load, *backend));
    runtime.executors.push_back(
        std::make_unique<RankGroup>(std::move(ranks), capacity_of(config, limits)));
  }
  return runtime;
}

}  // namespace m2
