// Random weights, made on the device: model/random_runs.h says of what.
#pragma once

#include "backend/cuda/portable/device.cuh"
#include "model/random_runs.h"

namespace m2::cuda {

// out[row, column] of whole runs. Writes row_count * column_count * element_bytes bytes, no flops.
struct RandomArgs {
  RandomRuns runs;                  // its pool is the host's
  const std::byte* pool = nullptr;  // the same on the device, readable to a multiple of 4 bytes
  std::byte* out = nullptr;         // 16-byte aligned
};
void launch_random(const RandomArgs& args, const Queue& queue);

}  // namespace m2::cuda
