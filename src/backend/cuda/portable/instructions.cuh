// What kernels ask of the machine that C++ has no words for, each generation in its own way: beside
// the copies of async_copy.cuh and bulk_copy.cuh, and cluster.cuh, no kernel holds assembly of its
// own.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "backend/cuda/portable/clang.cuh"
#include "backend/cuda/portable/older.cuh"

#ifdef __CUDACC__

// Declares the memory that a launch gives a block beyond what its kernel declares: type name[].
#define M2_DYNAMIC_SHARED(type, alignment, name) \
  extern __shared__ __align__(alignment)         \
  type name[]

namespace m2::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffu;

// Every kernel calls this before it touches what another kernel wrote or reads (but for reads that
// device.cuh allows), and so before it writes: then all kernels ahead of it have ended.
__device__ inline void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// Lets the next kernel start as soon as every block of this one has come here or ended.
__device__ inline void let_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Reads weights before wait_for_previous(), which the compiler may not move such a read past.
__device__ inline float load_ahead(const float* from) {
  float x;
  asm volatile("ld.global.nc.f32 %0, [%1];" : "=f"(x) : "l"(from));
  return x;
}
__device__ inline float4 load_ahead(const float4* from) {
  float4 x;
  asm volatile("ld.global.nc.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w)
               : "l"(from));
  return x;
}
// Reads pinned host memory as it is now; where wait_for_previous() follows, before it.
__device__ inline uint4 load_host(const uint4* from) {
  uint4 x;
  asm volatile("ld.volatile.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
               : "l"(from));
  return x;
}

// Nanoseconds of the device's clock, which goes up by steps of its own, some 0.1 to 1 us.
__device__ inline uint64_t device_time() {
  uint64_t time;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(time));
  return time;
}

// Of 128 bytes that nobody reads before they are written again: a cache need not write them back.
__device__ inline void discard_line(const void* line) {
#if __CUDA_ARCH__ >= 800
  asm volatile("discard.global.L2 [%0], 128;" ::"l"(line) : "memory");
#endif
}

__device__ inline float bf16_low(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ inline float bf16_high(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

// Rounds to nearest even; `low` goes to the lower half.
__device__ inline uint32_t pack_bf16(float low, float high) {
#if __CUDA_ARCH__ >= 800
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
#else
  return older::pack_bf16(low, high);
#endif
}
// The same in f16, held within its range.
__device__ inline uint32_t pack_f16(float low, float high) {
  constexpr float kLargest = 65504.0f;
  low = fminf(fmaxf(low, -kLargest), kLargest);
  high = fminf(fmaxf(high, -kLargest), kLargest);
#if __CUDA_ARCH__ >= 800
  uint32_t packed;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
#else
  return older::pack_f16(low, high);
#endif
}

__device__ inline float power_of_two(float x) {
  float out;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
}

// d += a * b on one warp's tensor core: a [16 rows, 16], b [16, 8 columns], d fp32. With g = lane /
// 4 and t = lane % 4 a lane holds a0 and a2 of row g, a1 and a3 of row g + 8, b of column g, and
// d0, d1 of row g, d2, d3 of row g + 8, columns 2t and 2t + 1. Which four of the 16 inner indices
// belong to t is free, as long as a and b agree: we take consecutive ones.
template <bool kF16 = false>
__device__ inline void mma(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                           uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ < 800
  const float4 before{d[0], d[1], d[2], d[3]};
  const float4 sums = kF16 ? older::multiply_f16(before, a0, a1, a2, a3, b0, b1)
                           : older::multiply_bf16(before, a0, a1, a2, a3, b0, b1);
  d[0] = sums.x, d[1] = sums.y, d[2] = sums.z, d[3] = sums.w;
#else
  if constexpr (kF16) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  }
#endif
}

// Two e4m3 as f16: exact. Devices that have an instruction for it use that. For the others, the
// bits of e4m3 moved to those of f16 give the value times 2^-8, subnormals too; a fused
// multiply-add takes that back.
#if __CUDA_ARCH__ >= 890
__device__ inline uint32_t widen_low(uint32_t four) {  // bytes 0 and 1
  uint32_t out;
  asm("{.reg .b16 low, high; mov.b32 {low, high}, %1; cvt.rn.f16x2.e4m3x2 %0, low;}"
      : "=r"(out)
      : "r"(four));
  return out;
}
__device__ inline uint32_t widen_high(uint32_t four) {  // bytes 2 and 3
  uint32_t out;
  asm("{.reg .b16 low, high; mov.b32 {low, high}, %1; cvt.rn.f16x2.e4m3x2 %0, high;}"
      : "=r"(out)
      : "r"(four));
  return out;
}
#else
__device__ inline uint32_t widen_spread(uint32_t spread) {  // in the upper bytes of the halves
  const uint32_t bits = (spread & 0x80008000u) | ((spread >> 1) & 0x3f803f80u);
  uint32_t out;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(out) : "r"(bits), "r"(0x5c005c00u), "r"(0x80008000u));
  return out;
}
__device__ inline uint32_t widen_low(uint32_t four) {
  return widen_spread(__byte_perm(four, 0, 0x1404));
}
__device__ inline uint32_t widen_high(uint32_t four) {
  return widen_spread(__byte_perm(four, 0, 0x3424));
}
#endif

// Two e4m3 as bf16: exact. Moved to the bits of bf16 they are the value times 2^-120.
__device__ inline uint32_t widen_bf16_spread(uint32_t spread) {  // in the upper bytes of the halves
  const uint32_t bits = (spread & 0x80008000u) | ((spread >> 4) & 0x07f007f0u);
#if __CUDA_ARCH__ >= 800
  uint32_t out;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(out) : "r"(bits), "r"(0x7b807b80u), "r"(0x80008000u));
  return out;
#else
  return older::scale_bf16(bits, 0x1p120f);
#endif
}
__device__ inline uint32_t widen_bf16_low(uint32_t four) {
  return widen_bf16_spread(__byte_perm(four, 0, 0x1404));
}
__device__ inline uint32_t widen_bf16_high(uint32_t four) {
  return widen_bf16_spread(__byte_perm(four, 0, 0x3424));
}

// Over a warp, the same in every lane.
__device__ inline uint32_t warp_max(uint32_t x) {
#if __CUDA_ARCH__ >= 800
  return __reduce_max_sync(kAllLanes, x);
#else
  return older::warp_max(x);
#endif
}
__device__ inline uint32_t warp_min(uint32_t x) {
#if __CUDA_ARCH__ >= 800
  return __reduce_min_sync(kAllLanes, x);
#else
  return older::warp_min(x);
#endif
}

}  // namespace m2::cuda

#endif
