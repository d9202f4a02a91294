// What a step brings from the host, read by a kernel out of pinned memory: between kernels a copy
// of a few bytes takes the GPU longer than that, and only what is used of each array is read.
#pragma once

#include <vector_types.h>

#include "backend/cuda/portable/device.cuh"

namespace m2::cuda {

inline constexpr int32_t kMostUploadRanges = 8;
struct UploadRange {
  int32_t begin, end;  // in vectors of 16 bytes
};

// Ranges of `from` to the same places of `to`.
struct UploadArgs {
  const uint4* from = nullptr;  // pinned, written before the launch
  uint4* to = nullptr;
  UploadRange ranges[kMostUploadRanges] = {};
  int32_t num_ranges = 0;
};
// Leaves no mark.
void launch_upload(const UploadArgs& args, const Queue& queue);

}  // namespace m2::cuda
