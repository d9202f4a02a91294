#include "runtime/runtime.h"

#include <utility>

#include "backend/backend.h"
#include "parallel/self_communicator.h"
#include "runtime/rank_group.h"

namespace m2 {
namespace {

Result<RankParts> make_rank(const ModelConfig& config, const Shard& shard, const OpsLimits& limits,
                            const LoadWeights& load, Backend& backend) {
  RankParts parts;
  parts.memory = HostMemory(weights_bytes(config, shard));
  if (parts.memory.data() == nullptr) {
    return fail(ErrorKind::kUnavailable, "", "the system refused {} bytes for the weights",
                weights_bytes(config, shard));
  }
  M2_TRY(load(config, shard, parts.memory));
  parts.weights = weights_at(config, shard, parts.memory.data());
  parts.communicator = std::make_unique<SelfCommunicator>();
  M2_ASSIGN(parts.ops, backend.make_ops(config, shard, limits));
  M2_TRY(parts.ops->adopt(parts.weights));
  return parts;
}

Capacity capacity_of(const ModelConfig& config, const OpsLimits& limits) {
  return {.num_blocks = limits.num_blocks,
          .block_tokens = limits.block_tokens,
          .max_step_tokens = limits.max_step_tokens,
          .max_sequences = limits.max_sequences,
          .max_sample_rows = limits.max_sample_rows,
          .max_model_tokens = limits.max_model_tokens,
          .vocab_size = config.vocab_size};
}

}  // namespace

Result<Runtime> make_runtime(const ModelConfig& config, const RuntimeOptions& options,
                             const LoadWeights& load) {
  M2_ASSIGN(const Shard shard, make_shard(config, options.parallelism, 0));
  M2_ASSIGN(
      auto backend,
      open_backend({.device = options.device, .threads = options.threads, .ranks = shard.size}));
  if (shard.size > 1) {
    return fail(ErrorKind::kUnsupported, "tensor-parallel-size",
                "tensor parallel size {} is not served on the CPU yet: this version runs one rank",
                shard.size);
  }
  Runtime runtime;
  M2_ASSIGN(runtime.plan, plan_memory(config, shard, options, *backend));
  runtime.device = backend->detail();
  std::vector<RankParts> parts(1);
  M2_ASSIGN(parts[0], make_rank(config, shard, runtime.plan.limits, load, *backend));
  runtime.executor =
      std::make_unique<RankGroup>(std::move(parts), capacity_of(config, runtime.plan.limits));
  return runtime;
}

}  // namespace m2
