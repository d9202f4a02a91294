// What comes with nvcc and not with clang: loads past the first cache, the exchange of 16 bits, and
// the smaller and the larger of two numbers on the host.
#pragma once

#if defined(__clang__) && defined(__CUDACC__)

#include <cstddef>
#include <cstdint>

__device__ inline int32_t __ldcg(const int32_t* from) {
  int32_t value;
  asm volatile("ld.global.cg.s32 %0, [%1];" : "=r"(value) : "l"(from) : "memory");
  return value;
}
__device__ inline float __ldcg(const float* from) {
  float value;
  asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(value) : "l"(from) : "memory");
  return value;
}
__device__ inline uint2 __ldcg(const uint2* from) {
  uint2 value;
  asm volatile("ld.global.cg.v2.u32 {%0, %1}, [%2];"
               : "=r"(value.x), "=r"(value.y)
               : "l"(from)
               : "memory");
  return value;
}
__device__ inline float2 __ldcg(const float2* from) {
  float2 value;
  asm volatile("ld.global.cg.v2.f32 {%0, %1}, [%2];"
               : "=f"(value.x), "=f"(value.y)
               : "l"(from)
               : "memory");
  return value;
}
__device__ inline float4 __ldcg(const float4* from) {
  float4 value;
  asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
               : "l"(from)
               : "memory");
  return value;
}
__device__ inline uint4 __ldcg(const uint4* from) {
  uint4 value;
  asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(from)
               : "memory");
  return value;
}
__device__ inline uint4 __ldcs(const uint4* from) {
  uint4 value;
  asm volatile("ld.global.cs.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(from)
               : "memory");
  return value;
}

// CUDA's headers call it, and nvcc knows it.
extern "C" __device__ inline unsigned short __usAtomicCAS(unsigned short* place,
                                                          unsigned short compare,
                                                          unsigned short value) {
  unsigned short old;
  asm volatile("atom.cas.b16 %0, [%1], %2, %3;"
               : "=h"(old)
               : "l"(place), "h"(compare), "h"(value)
               : "memory");
  return old;
}

__host__ inline int32_t min(int32_t a, int32_t b) { return b < a ? b : a; }
__host__ inline int32_t max(int32_t a, int32_t b) { return a < b ? b : a; }
__host__ inline size_t min(size_t a, size_t b) { return b < a ? b : a; }

#endif
