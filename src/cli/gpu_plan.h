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

// `ranks` GPUs of `bytes` each. Keys and values are counted exactly; the working memory is the
// bound that the CUDA backend keeps to, not a measurement.
std::unique_ptr<Backend> make_planned_gpus(size_t bytes, int32_t ranks);

}  // namespace m2::cli
