// What the device can do at best: plain reading, and products on the tensor cores; and what tells
// when it is done.
#pragma once

#include "backend/cuda/portable/device.cuh"

namespace m2::cuda {

struct ProbeArgs {
  const uint4* data = nullptr;  // [vectors]
  int64_t vectors = 0;
  int32_t rounds = 0;  // of the products
  float* sink = nullptr;
};

// Reads all of `data` once.
void launch_read_probe(const ProbeArgs& args, int32_t multiprocessors, const Queue& queue);
// Returns how many floating-point operations it does: f16 with fp32 sums, as the kernels' mma.
double launch_product_probe(const ProbeArgs& args, int32_t multiprocessors, const Queue& queue);
// Leaves its mark when all kernels ahead have ended.
void launch_mark(const Queue& queue);

}  // namespace m2::cuda
