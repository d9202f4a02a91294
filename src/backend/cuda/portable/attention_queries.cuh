// Attention of decode rows: what a warp keeps of its 16 queries, and the softmax that runs along
// with the keys. Of one warp; lane = 4 g + t holds rows g and g + 8, as the tensor core lays them.
#pragma once

#include "backend/cuda/portable/attention.cuh"

#ifdef __CUDACC__

namespace m2::cuda::decode {

inline constexpr int32_t kWarps = 4;  // of a block
inline constexpr float kLog2E = 1.4426950408889634f;
inline constexpr float kNone = -INFINITY;

// The state of a warp's 16 queries. A lane holds rows g and g + 8, as the tensor core lays them.
template <int32_t kHeadDim>
struct Queries {
  uint4 q_low[kHeadDim / 32], q_high[kHeadDim / 32];  // 8 consecutive of every 32 dimensions
  float out[kHeadDim / 8][4];
  float largest[2], sum[2];
  int32_t last[2];  // the last position that the row sees; -1: no query

  __device__ void clear() {
#pragma unroll
    for (auto& tile : out) tile[0] = tile[1] = tile[2] = tile[3] = 0;
    largest[0] = largest[1] = kNone;
    sum[0] = sum[1] = 0;
  }
  __device__ void load(const bf16_t* low, const bf16_t* high, int32_t t) {
#pragma unroll
    for (int32_t i = 0; i < kHeadDim / 32; ++i) {
      q_low[i] = low == nullptr ? uint4{0, 0, 0, 0}
                                : *reinterpret_cast<const uint4*>(low + 32 * i + 8 * t);
      q_high[i] = high == nullptr ? uint4{0, 0, 0, 0}
                                  : *reinterpret_cast<const uint4*>(high + 32 * i + 8 * t);
    }
  }
  // Adds what 32 dimensions, the i-th, give to the scores of 16 keys, of which a lane has two.
  __device__ void score(int32_t i, const uint4& k0, const uint4& k1, float (&scores)[2][4]) const {
    const uint4 low = q_low[i], high = q_high[i];
    mma(scores[0], low.x, high.x, low.y, high.y, k0.x, k0.y);
    mma(scores[1], low.x, high.x, low.y, high.y, k1.x, k1.y);
    mma(scores[0], low.z, high.z, low.w, high.w, k0.z, k0.w);
    mma(scores[1], low.z, high.z, low.w, high.w, k1.z, k1.w);
  }
};

// One of the two halves of a warp's queries (rows g and g + 8): scores to probabilities, against
// the largest so far. `position` is the first key's.
template <int32_t kHeadDim>
__device__ inline void soften(Queries<kHeadDim>& s, const float (&scores)[2][4], int32_t half,
                              int32_t position, float scale, int32_t t, float (&p)[4]) {
  float x[4] = {scores[0][2 * half], scores[0][2 * half + 1], scores[1][2 * half],
                scores[1][2 * half + 1]};
  float largest = s.largest[half];
#pragma unroll
  for (int32_t i = 0; i < 4; ++i) {
    x[i] = position + 4 * t + i <= s.last[half] ? x[i] * scale : kNone;
    largest = fmaxf(largest, x[i]);
  }
  largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 1));
  largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 2));
  const float safe = largest == kNone ? 0.0f : largest;  // nothing seen yet
  const float factor = exp2f((s.largest[half] - safe) * kLog2E);
  float sum = 0;
#pragma unroll
  for (int32_t i = 0; i < 4; ++i) sum += p[i] = exp2f((x[i] - safe) * kLog2E);
  sum += __shfl_xor_sync(kAllLanes, sum, 1);
  sum += __shfl_xor_sync(kAllLanes, sum, 2);
  s.sum[half] = s.sum[half] * factor + sum;
  s.largest[half] = largest;
#pragma unroll
  for (auto& tile : s.out) {
    tile[2 * half] *= factor;
    tile[2 * half + 1] *= factor;
  }
}

// The probabilities of 16 keys as the tensor core's first operand, of the first 8 queries or `both`
// halves of 16.
template <int32_t kHeadDim>
__device__ inline uint4 soften(Queries<kHeadDim>& s, const float (&scores)[2][4], bool both,
                               int32_t position, float scale, int32_t t) {
  float p[2][4] = {};
  soften<kHeadDim>(s, scores, 0, position, scale, t, p[0]);
  if (both) soften<kHeadDim>(s, scores, 1, position, scale, t, p[1]);
  return {pack_bf16(p[0][0], p[0][1]), pack_bf16(p[1][0], p[1][1]), pack_bf16(p[0][2], p[0][3]),
          pack_bf16(p[1][2], p[1][3])};
}

}  // namespace m2::cuda::decode

#endif
