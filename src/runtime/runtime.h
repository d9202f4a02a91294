// Makes the Executors that the engines drive, one a replica of the model: chooses the device, plans
// memory, loads weights, starts the ranks. The whole of the runtime that the command line sees.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/dtype.h"
#include "base/error.h"
#include "engine/executor.h"
#include "model/config.h"
#include "model/shard.h"
#include "model/weight_block.h"
#include "runtime/memory_plan.h"

namespace m2 {

struct RuntimeOptions {
  std::string device = "auto";  // "auto", "cpu" or "cuda"
  int32_t threads = 0;          // CPU threads of all ranks together; 0: the cores
  bool plain_kernels = false;   // of the CPU: slow ones, to hold the others against
  Parallelism parallelism;
  int32_t replicas = 1;  // --data-parallel-size: whole models beside each other

  // --gpu-memory-utilization: the most of a GPU's memory to take, as a share of all of it; 0: what
  // is free, but a little. Without meaning on a CPU.
  double memory_share = 0;
  int64_t kv_cache_bytes = 0;      // --kv-cache-memory-bytes, of a rank; 0: a share of what is free
  int32_t num_blocks = 0;          // --num-gpu-blocks-override; 0: as many as kv_cache_bytes holds
  int32_t block_tokens = 16;       // --block-size
  int32_t max_model_tokens = 0;    // --max-model-len; 0: the model's
  bool fit_length = false;         // --max-model-len auto: or what the KV cache holds
  int32_t max_sequences = 256;     // --max-num-seqs
  int32_t max_step_tokens = 2048;  // --max-num-batched-tokens
  GraphOptions graphs{};           // --compilation-config and its like; of a GPU
  std::optional<DType> kv_dtype;   // --kv-cache-dtype; none: as the backend computes
  std::function<void()> warming_up{};  // told before steps are run once and recorded; may be empty
  int32_t real_vocab = 0;  // ids from here up belong to no token and are never drawn; 0: none
};

// Fills one rank's weights (weights_bytes() long), by the slices of model/shard.h: from a
// checkpoint or with dummy values.
using LoadWeights = std::function<Status(const ModelConfig&, const Shard&, WeightBlock&)>;

struct Runtime {
  std::vector<std::unique_ptr<Executor>> executors;  // one a replica
  MemoryPlan plan;      // runtime/memory_plan.h; describe(plan) prints it
  std::string backend;  // its name
  std::string device;   // one line for the log: what was chosen and why
};

Result<Runtime> make_runtime(const ModelConfig& config, const RuntimeOptions& options,
                             const LoadWeights& load);

// What make_runtime() would plan, or why it would refuse, before there are any weights.
Result<MemoryPlan> plan_runtime(const ModelConfig& config, const RuntimeOptions& options);

}  // namespace m2
