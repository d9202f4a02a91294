// Blocks of a cluster, which see each other's shared memory: compute capability 9.0 and later.
#pragma once

#include "backend/cuda/portable/device.cuh"

namespace m2::cuda {

#ifdef __CUDACC__

// Every block of the cluster comes here, and sees what the others wrote before.
__device__ inline void sync_cluster() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release; barrier.cluster.wait.acquire;" ::: "memory");
#endif
}
// What lies at the same place in the shared memory of another block of the cluster.
__device__ inline float read_cluster(const float* place, int32_t rank) {
  float value = 0;
#if __CUDA_ARCH__ >= 900
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(place));
  asm volatile(
      "{.reg .b32 there; mapa.shared::cluster.u32 there, %1, %2; ld.shared::cluster.f32 %0, "
      "[there];}"
      : "=f"(value)
      : "r"(address), "r"(rank)
      : "memory");
#endif
  return value;
}

#endif

}  // namespace m2::cuda
