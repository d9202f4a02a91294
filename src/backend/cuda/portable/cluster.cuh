// Blocks of a cluster, which see each other's shared memory: compute capability 9.0 and later.
#pragma once

#include "backend/cuda/portable/bulk_copy.cuh"

namespace m2::cuda {

#ifdef __CUDACC__

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900

// In two steps, of which the first does not wait: every block has come to the first when the second
// returns. What blocks wrote before is not ordered by it, but for fence_barriers().
__device__ inline void arrive_cluster() {
  asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory");
}
__device__ inline void wait_cluster() {
  asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
}
// By all threads of a block that receives: its barrier waits for so many bytes. In each block ahead
// of wait_cluster(), after which they may be sent.
__device__ inline void expect_from_cluster(uint64_t* barrier, uint32_t bytes) {
  if (threadIdx.x == 0) {
    init_barrier(barrier, 1);
    fence_barriers();
    expect_bytes(barrier, bytes);
  }
}
// Sends to the same place in the shared memory of the cluster's block `rank`; that block's barrier
// counts the bytes.
__device__ inline void send_cluster(float4* place, const float4& x, uint64_t* barrier,
                                    int32_t rank) {
  asm volatile(
      "{.reg .b32 there, counts; mapa.shared::cluster.u32 there, %0, %2; mapa.shared::cluster.u32 "
      "counts, %1, %2; st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [there], {%3, "
      "%4, %5, %6}, [counts];}" ::"r"(shared_address(place)),
      "r"(shared_address(barrier)), "r"(rank), "f"(x.x), "f"(x.y), "f"(x.z), "f"(x.w)
      : "memory");
}
__device__ inline void send_cluster(float2* place, const float2& x, uint64_t* barrier,
                                    int32_t rank) {
  asm volatile(
      "{.reg .b32 there, counts; mapa.shared::cluster.u32 there, %0, %2; mapa.shared::cluster.u32 "
      "counts, %1, %2; st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [there], {%3, "
      "%4}, [counts];}" ::"r"(shared_address(place)),
      "r"(shared_address(barrier)), "r"(rank), "f"(x.x), "f"(x.y)
      : "memory");
}

#else

// As in bulk_copy.cuh.
__device__ void arrive_cluster();
__device__ void wait_cluster();
__device__ void expect_from_cluster(uint64_t* barrier, uint32_t bytes);
__device__ void send_cluster(float4* place, const float4& x, uint64_t* barrier, int32_t rank);
__device__ void send_cluster(float2* place, const float2& x, uint64_t* barrier, int32_t rank);

#endif

#endif

}  // namespace m2::cuda
