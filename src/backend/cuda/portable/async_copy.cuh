// Copies of 16 bytes from memory into shared memory that a thread does not wait for: they are
// committed in groups, and waited for by group, in order. What other threads copied is there after
// a barrier besides.
//
// Below compute capability 8.0 a copy is made at once, which is within what the callers allow. A
// ring of more than two stages would hide nothing then, and blocks have less memory there.
#pragma once

#include "backend/cuda/portable/device.cuh"

namespace m2::cuda {

// Of a ring that has `most` where copies are asynchronous.
constexpr int32_t ring_stages(int32_t most, bool async_copies) { return async_copies ? most : 2; }

#ifdef __CUDACC__

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800

inline constexpr bool kAsyncCopies = false;  // Queue::async_copies

__device__ inline void copy_async(void* to, const void* from) { older::copy(to, from); }
__device__ inline void copy_or_zero(void* to, const void* from, bool here) {
  here ? older::copy(to, from) : older::clear(to);
}
__device__ inline void commit_copies() {}
template <int32_t kLeft>
__device__ inline void wait_copies() {}

#else

inline constexpr bool kAsyncCopies = true;

__device__ inline void copy_async(void* to, const void* from) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from));
}
// Zeros instead where there is nothing to copy.
__device__ inline void copy_or_zero(void* to, const void* from, bool here) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
               "r"(here ? 16 : 0));
}
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;"); }
// All groups but the last kLeft.
template <int32_t kLeft>
__device__ inline void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

#endif

#endif

}  // namespace m2::cuda
