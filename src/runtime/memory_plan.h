// Everything that the step path uses is sized here, before the first request; nothing is allocated
// afterwards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "model/ops.h"

namespace m2 {

struct ModelConfig;
struct Shard;
class Backend;
struct RuntimeOptions;

// What a process takes of a GPU before it allocates anything, about.
inline constexpr size_t kGpuContextBytes = size_t{512} << 20;

// Bytes of one rank.
struct MemoryPlan {
  OpsLimits limits;
  int32_t ranks = 1;     // of a replica
  int32_t replicas = 1;  // of the model
  size_t weights_bytes = 0;
  size_t kv_bytes_a_token = 0;
  size_t kv_bytes = 0;
  size_t scratch_bytes = 0;
  size_t graph_bytes = 0;      // recorded steps of a device
  size_t free_bytes = 0;       // what may be taken, before anything was
  size_t total_bytes = 0;      // of a device that is the model's alone; 0: a CPU's
  size_t held_bytes = 0;       // of such a device, by other processes
  bool length_shrunk = false;  // max_model_tokens is less than the model's because of the KV cache

  // All but the weights and the KV cache.
  size_t working_bytes() const { return scratch_bytes + graph_bytes; }
  int32_t all_ranks() const { return ranks * replicas; }
  // Of one replica: its ranks hold different heads of the same tokens.
  int64_t kv_tokens() const { return int64_t{limits.num_blocks} * limits.block_tokens; }
};

// Refuses what does not fit, with the arithmetic.
Result<MemoryPlan> plan_memory(const ModelConfig& config, const Shard& shard,
                               const RuntimeOptions& options, const Backend& backend);

// Several lines for the log at start.
std::string describe(const MemoryPlan& plan);

}  // namespace m2
