// The products of few tokens (single.cuh): the norm of one token inside the product that needs it.
#pragma once

#include "backend/cuda/portable/single_layout.cuh"

#ifdef __CUDACC__

namespace m2::cuda::single {

// The norm's weights, of the vectors that a thread norms: read before the kernel ahead has ended.
constexpr int32_t kNormVectors = divide_up(kMostTileBytes / 16 / 8, kThreads);
struct NormWeights {
  float4 first[kNormVectors], second[kNormVectors];

  __device__ void load(const float* norm, int32_t vectors) {
#pragma unroll
    for (int32_t n = 0; n < kNormVectors; ++n) {
      const int32_t i = min(n * kThreads + int32_t(threadIdx.x), vectors - 1);
      first[n] = load_ahead(reinterpret_cast<const float4*>(norm) + 2 * i);
      second[n] = load_ahead(reinterpret_cast<const float4*>(norm) + 2 * i + 1);
    }
  }
};

// The normed residual as the only row of x.
__device__ inline void stage_normed(const SingleArgs& a, const NormWeights& weights,
                                    int32_t vectors, uint4* x) {
  __shared__ float shared[kWarps];
  uint4 own[kNormVectors];
#pragma unroll
  for (int32_t n = 0; n < kNormVectors; ++n) {
    const int32_t i = n * kThreads + threadIdx.x;
    own[n] = i < vectors ? reinterpret_cast<const uint4*>(a.hidden)[i] : uint4{0, 0, 0, 0};
  }
  float squares = 0;
#pragma unroll
  for (const uint4& v : own) {
    const uint32_t words[] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (const uint32_t word : words) {
      squares += bf16_low(word) * bf16_low(word) + bf16_high(word) * bf16_high(word);
    }
  }
  squares = warp_sum(squares);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = squares;
  __syncthreads();
  float sum = 0;
#pragma unroll
  for (int32_t w = 0; w < kWarps; ++w) sum += shared[w];
  const float factor = 1.0f / sqrtf(sum / static_cast<float>(vectors * 8) + a.epsilon);
#pragma unroll
  for (int32_t n = 0; n < kNormVectors; ++n) {
    const int32_t i = n * kThreads + threadIdx.x;
    if (i >= vectors) continue;
    const uint4 v = own[n];
    const float4 w0 = weights.first[n], w1 = weights.second[n];
    x[i] = {pack_f16(bf16_low(v.x) * factor * w0.x, bf16_high(v.x) * factor * w0.y),
            pack_f16(bf16_low(v.y) * factor * w0.z, bf16_high(v.y) * factor * w0.w),
            pack_f16(bf16_low(v.z) * factor * w1.x, bf16_high(v.z) * factor * w1.y),
            pack_f16(bf16_low(v.w) * factor * w1.z, bf16_high(v.w) * factor * w1.w)};
  }
  __syncthreads();
}

}  // namespace m2::cuda::single

#endif
