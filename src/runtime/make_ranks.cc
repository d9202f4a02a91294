#include "runtime/make_ranks.h"

#include <utility>

#include "parallel/local_communicator.h"
#include "parallel/self_communicator.h"
#include "runtime/warm_up.h"

namespace m2 {
namespace {

std::vector<std::unique_ptr<Communicator>> make_communicators(int32_t ranks, bool spin) {
  if (ranks > 1) return LocalCommunicator::make(ranks, spin);
  std::vector<std::unique_ptr<Communicator>> alone;
  alone.push_back(std::make_unique<SelfCommunicator>());
  return alone;
}

}  // namespace

Result<RankParts> make_rank(const ModelConfig& config, const Shard& shard, const OpsLimits& limits,
                            const LoadWeights& load, Backend& backend) {
  RankParts parts;
  M2_ASSIGN(parts.memory, backend.make_weights(weights_bytes(config, shard), shard));
  // What there is no memory for shows before minutes of loading.
  M2_ASSIGN(parts.ops, backend.make_ops(config, shard, limits));
  M2_TRY(load(config, shard, *parts.memory));
  M2_TRY(parts.memory->finish());
  parts.weights = weights_at(config, shard, parts.memory->base());
  M2_TRY(parts.ops->adopt(parts.weights));
  return parts;
}

Result<std::vector<RankParts>> make_ranks(const ModelConfig& config, const Parallelism& parallelism,
                                          const OpsLimits& limits, const LoadWeights& load,
                                          Backend& backend,
                                          const std::function<void()>& warming_up) {
  const int32_t ranks = parallelism.tensor_parallel;
  auto communicators = make_communicators(ranks, backend.may_spin());
  std::vector<RankParts> all;
  for (int32_t rank = 0; rank < ranks; ++rank) {
    M2_ASSIGN(const Shard shard, make_shard(config, parallelism, rank));
    M2_ASSIGN(RankParts parts, make_rank(config, shard, limits, load, backend));
    parts.communicator = std::move(communicators[rank]);
    if (ranks == 1) {  // several would have to step together
      if (warming_up && !parts.ops->sizes_to_warm().empty()) warming_up();
      M2_TRY(warm_up(parts, limits));
    }
    all.push_back(std::move(parts));
  }
  return all;
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

}  // namespace m2
