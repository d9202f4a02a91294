// Bulk copies of consecutive bytes into shared memory and the barriers that tell of their arrival:
// compute capability 9.0 and later.
#pragma once

#include "backend/cuda/portable/device.cuh"

namespace m2::cuda {

#ifdef __CUDACC__

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900

inline constexpr bool kBulkCopies = true;

__device__ inline uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}
__device__ inline void init_barrier(uint64_t* barrier, uint32_t count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(count));
}
__device__ inline void fence_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ inline void arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
}
// Arrives once all copies of async_copy.cuh that this thread has begun are there.
__device__ inline void arrive_when_copied(uint64_t* barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_address(barrier))
               : "memory");
}
__device__ inline void expect_bytes(uint64_t* barrier, uint32_t bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
}
__device__ inline void wait_barrier(uint64_t* barrier, uint32_t parity) {
  asm volatile(
      "{.reg .pred done;\n"
      "again: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;}" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}
__device__ inline void copy_bulk(void* to, const void* from, uint32_t bytes, uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(shared_address(to)),
      "l"(from), "r"(bytes), "r"(shared_address(barrier))
      : "memory");
}
// The same copy of what is read once: it leaves the L2 cache first.
__device__ inline uint64_t passing_through() {
  uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0;" : "=l"(policy));
  return policy;
}
__device__ inline void copy_bulk(void* to, const void* from, uint32_t bytes, uint64_t* barrier,
                                 uint64_t policy) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], "
      "[%1], %2, [%3], %4;" ::"r"(shared_address(to)),
      "l"(from), "r"(bytes), "r"(shared_address(barrier)), "l"(policy)
      : "memory");
}
// What was written plainly before is there for bulk copies that this thread begins afterwards.
__device__ inline void fence_copies() { asm volatile("fence.proxy.async;" ::: "memory"); }

#else

inline constexpr bool kBulkCopies = false;

// For the code of a kernel that has a form without bulk copies, and is made with them nowhere else.
__device__ void init_barrier(uint64_t* barrier, uint32_t count);
__device__ void fence_barriers();
__device__ void expect_bytes(uint64_t* barrier, uint32_t bytes);
__device__ void wait_barrier(uint64_t* barrier, uint32_t parity);
__device__ void copy_bulk(void* to, const void* from, uint32_t bytes, uint64_t* barrier);
__device__ void fence_copies();

#endif

#endif

}  // namespace m2::cuda
