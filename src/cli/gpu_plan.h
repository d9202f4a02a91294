// A device that is not here: what `m2 plan` plans for. plan_memory() sees it as it sees a real one.
//
// Thread-safety: plain values and pure functions.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "backend/backend.h"
#include "base/error.h"

namespace m2::cli {

struct GpuKind {
  std::string_view name;   // of --gpu
  std::string_view title;  // for people
  size_t mib = 0;          // as nvidia-smi tells it
};

std::span<const GpuKind> gpu_kinds();
Result<GpuKind> find_gpu(std::string_view name);

// `ranks` GPUs of `bytes` each, as the GPU plug-in counts them, by the function that it itself
// allocates by. Without the plug-in, keys and values are counted exactly and the working memory is
// a bound.
std::unique_ptr<Backend> make_planned_gpus(size_t bytes, int32_t ranks, const GraphOptions& graphs);

// That bound, of one rank: what the plug-in counts is never more (tests/cli/plan_test.cc).
size_t most_working_bytes(const ModelConfig& config, const Shard& shard, const OpsLimits& limits);

// Whether the plug-in is there to count.
bool counts_exactly();

}  // namespace m2::cli
