// The ranks of one model on this machine: each with its slice of the weights, its ops and its end
// of the communicator.
//
// Thread-safety: pure functions; the backend must allow it.
#pragma once

#include <functional>
#include <vector>

#include "backend/backend.h"
#include "base/error.h"
#include "model/config.h"
#include "model/shard.h"
#include "runtime/rank.h"
#include "runtime/runtime.h"

namespace m2 {

// `warming_up` is told when the weights are there and steps are run to record them.
Result<std::vector<RankParts>> make_ranks(const ModelConfig& config, const Parallelism& parallelism,
                                          const OpsLimits& limits, const LoadWeights& load,
                                          Backend& backend,
                                          const std::function<void()>& warming_up = {});

// One rank's memory, weights and ops. Its communicator is left to the caller.
Result<RankParts> make_rank(const ModelConfig& config, const Shard& shard, const OpsLimits& limits,
                            const LoadWeights& load, Backend& backend);

// The engine's view of the limits.
Capacity capacity_of(const ModelConfig& config, const OpsLimits& limits);

}  // namespace m2
