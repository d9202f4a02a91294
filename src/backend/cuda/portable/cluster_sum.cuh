// Sums over a row that the blocks of a cluster share, with the bits that one block of all their
// threads gives (block_sum of device.cuh): compute capability 9.0 and later.
#pragma once

#include "backend/cuda/portable/cluster.cuh"

#ifdef __CUDACC__

namespace m2::cuda {

// In shared memory, for one pair of sums: what each warp of the cluster found, in their order.
// Blocks lie along z and are of whole warps, at most kMostWarps in all.
template <int32_t kBlocks, int32_t kMostWarps>
struct ClusterSums {
  float2 parts[kMostWarps];
  uint64_t full;

  // By all threads; waits for none.
  __device__ void begin() {
    expect_from_cluster(&full, kBlocks * block_warps() * sizeof(float2));
    arrive_cluster();
  }
  // Of the warp, the same in all of its lanes.
  __device__ void send(const float2& own) {
    const auto lane = static_cast<int32_t>(threadIdx.x) % 32;
    float2* place = &parts[blockIdx.z * block_warps() + threadIdx.x / 32];
    wait_cluster();  // for the others' barriers
    if (lane < kBlocks) send_cluster(place, own, &full, lane);
  }
  __device__ float2 total() {
    wait_barrier(&full, 0);
    float2 sum{0, 0};
    const int32_t warps = kBlocks * block_warps();
#pragma unroll 8
    for (int32_t i = 0; i < warps; ++i) sum.x += parts[i].x, sum.y += parts[i].y;
    return sum;
  }

 private:
  __device__ static int32_t block_warps() { return static_cast<int32_t>(blockDim.x) / 32; }
};

}  // namespace m2::cuda

#endif
