// What devices below compute capability 8.0 have no instruction for, made of what they have. Right
// on every device; device.cuh calls it where it is needed.
//
// 7.5 has half of the f16 tensor core product, 7.0 a smaller one of another layout. Neither has one
// for bf16: that is summed in fp32 by fused multiply-adds, which is slow.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#ifdef __CUDACC__

namespace m2::cuda::older {

inline constexpr unsigned kAllLanes = 0xffffffffu;

// The nearest bf16, ties to even; not a number is 0x7fff, as the instruction makes it.
__device__ inline uint32_t to_bf16(float x) {
  const uint32_t bits = __float_as_uint(x);
  return x == x ? (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16 : 0x7fffu;
}
__device__ inline uint32_t pack_bf16(float low, float high) {
  return to_bf16(low) | to_bf16(high) << 16;
}
__device__ inline uint32_t pack_f16(float low, float high) {
  uint32_t packed;
  asm("{.reg .b16 low, high; cvt.rn.f16.f32 low, %1; cvt.rn.f16.f32 high, %2; "
      "mov.b32 %0, {low, high};}"
      : "=r"(packed)
      : "f"(low), "f"(high));
  return packed;
}
// Both of a pair of bf16 times a power of two; what comes out must be bf16 exactly.
__device__ inline uint32_t scale_bf16(uint32_t pair, float factor) {
  const uint32_t low = __float_as_uint(__uint_as_float(pair << 16) * factor);
  const uint32_t high = __float_as_uint(__uint_as_float(pair & 0xffff0000u) * factor);
  return low >> 16 | (high & 0xffff0000u);
}

__device__ inline uint32_t warp_max(uint32_t x) {
  for (int distance = 16; distance > 0; distance /= 2) {
    x = max(x, __shfl_xor_sync(kAllLanes, x, distance));
  }
  return x;
}
__device__ inline uint32_t warp_min(uint32_t x) {
  for (int distance = 16; distance > 0; distance /= 2) {
    x = min(x, __shfl_xor_sync(kAllLanes, x, distance));
  }
  return x;
}

// Of 16 bytes in shared memory, done when the call returns.
__device__ inline void copy(void* to, const void* from) {
  *static_cast<uint4*>(to) = __ldcg(static_cast<const uint4*>(from));
}
__device__ inline void clear(void* to) { *static_cast<uint4*>(to) = uint4{0, 0, 0, 0}; }

// d + a * b as device.cuh's mma<true>.
#if __CUDA_ARCH__ >= 750

__device__ inline float4 multiply_f16(float4 d, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                                      uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
      "{%0,%1,%2,%3};"
      : "+f"(d.x), "+f"(d.y), "+f"(d.z), "+f"(d.w)
      : "r"(a0), "r"(a1), "r"(b0));
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
      "{%0,%1,%2,%3};"
      : "+f"(d.x), "+f"(d.y), "+f"(d.z), "+f"(d.w)
      : "r"(a2), "r"(a3), "r"(b1));
  return d;
}

#else

// On the tensor core of 7.0 eight lanes, 4 q to 4 q + 3 and 16 more, make a product of 8 rows, 8
// columns and 4 inner indices of their own. Lane 16 h + 4 q + m brings row and column 4 h + m, and
// is left with rows 4 h + m % 2 + (0 or 2) and columns m / 2 * 2 + (0 or 1) + (0 or 4).
__device__ inline void multiply_eight(float (&d)[8], uint32_t a0, uint32_t a1, uint32_t b0,
                                      uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32 {%0,%1,%2,%3,%4,%5,%6,%7}, {%8,%9}, "
      "{%10,%11}, {%0,%1,%2,%3,%4,%5,%6,%7};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]),
        "+f"(d[7])
      : "r"(a0), "r"(a1), "r"(b0), "r"(b1));
}
// The sums over q of what multiply_eight() left, two a lane: of row 4 h + 2 (q % 2) + m % 2, and
// columns 4 (q / 2) + m / 2 * 2 and the next.
__device__ inline float2 join_quads(const float (&d)[8], int32_t lane) {
  const bool upper_rows = (lane & 4) != 0, upper_columns = (lane & 8) != 0;
  float half[4];
#pragma unroll
  for (int32_t i = 0; i < 4; ++i) {
    const float low = d[i / 2 * 4 + i % 2], high = d[i / 2 * 4 + i % 2 + 2];
    half[i] = upper_rows ? high : low;
    half[i] += __shfl_xor_sync(kAllLanes, upper_rows ? low : high, 4);
  }
  float sum[2];
#pragma unroll
  for (int32_t i = 0; i < 2; ++i) {
    sum[i] = upper_columns ? half[2 + i] : half[i];
    sum[i] += __shfl_xor_sync(kAllLanes, upper_columns ? half[i] : half[2 + i], 8);
  }
  return {sum[0], sum[1]};
}
// The four inner indices of t = q belong to quad q: lanes change places within each half of the
// warp, and again for the sums. Called, not inlined: kernels have hundreds of these products.
__device__ __noinline__ inline float4 multiply_f16(float4 d, uint32_t a0, uint32_t a1, uint32_t a2,
                                                   uint32_t a3, uint32_t b0, uint32_t b1) {
  const int32_t lane = threadIdx.x % 32;
  const int32_t from = (lane & 16) | lane % 4 * 4 | lane / 4 % 4;
  const uint32_t x0 = __shfl_sync(kAllLanes, b0, from), x1 = __shfl_sync(kAllLanes, b1, from);
  float low[8] = {}, high[8] = {};
  multiply_eight(low, __shfl_sync(kAllLanes, a0, from), __shfl_sync(kAllLanes, a2, from), x0, x1);
  multiply_eight(high, __shfl_sync(kAllLanes, a1, from), __shfl_sync(kAllLanes, a3, from), x0, x1);
  const float2 of_low = join_quads(low, lane), of_high = join_quads(high, lane);
  const int32_t holder =
      (lane & 16) | (lane & 2) << 2 | (lane & 8) >> 1 | (lane & 1) << 1 | (lane & 4) >> 2;
  d.x += __shfl_sync(kAllLanes, of_low.x, holder);
  d.y += __shfl_sync(kAllLanes, of_low.y, holder);
  d.z += __shfl_sync(kAllLanes, of_high.x, holder);
  d.w += __shfl_sync(kAllLanes, of_high.y, holder);
  return d;
}

#endif

__device__ inline float add_product(float sum, uint32_t a, uint32_t b) {  // of two pairs of bf16
  sum = fmaf(__uint_as_float(a << 16), __uint_as_float(b << 16), sum);
  return fmaf(__uint_as_float(a & 0xffff0000u), __uint_as_float(b & 0xffff0000u), sum);
}
// As device.cuh's mma<false>; 160 instructions, and so called too.
__device__ __noinline__ inline float4 multiply_bf16(float4 d, uint32_t a0, uint32_t a1, uint32_t a2,
                                                    uint32_t a3, uint32_t b0, uint32_t b1) {
  const int32_t lane = threadIdx.x % 32, t = lane % 4;
#pragma unroll
  for (int32_t s = 0; s < 4; ++s) {
    const int32_t row = lane - t + s, column = 8 * t + s;  // lanes that hold the inner indices of s
    const uint32_t low = __shfl_sync(kAllLanes, a0, row), high = __shfl_sync(kAllLanes, a1, row);
    const uint32_t low_2 = __shfl_sync(kAllLanes, a2, row);
    const uint32_t high_2 = __shfl_sync(kAllLanes, a3, row);
    const uint32_t x = __shfl_sync(kAllLanes, b0, column);
    const uint32_t x_2 = __shfl_sync(kAllLanes, b1, column);
    const uint32_t y = __shfl_sync(kAllLanes, b0, column + 4);
    const uint32_t y_2 = __shfl_sync(kAllLanes, b1, column + 4);
    d.x = add_product(add_product(d.x, low, x), low_2, x_2);
    d.y = add_product(add_product(d.y, low, y), low_2, y_2);
    d.z = add_product(add_product(d.z, high, x), high_2, x_2);
    d.w = add_product(add_product(d.w, high, y), high_2, y_2);
  }
  return d;
}

}  // namespace m2::cuda::older

#endif
