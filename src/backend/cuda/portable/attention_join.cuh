// Attention of decode rows: sums of shares of a row's keys, and how they are joined.
#pragma once

#include "backend/cuda/portable/attention_queries.cuh"

#ifdef __CUDACC__

namespace m2::cuda::decode {

// In shared memory: what the warps of a block leave of their keys, sums that are not divided yet,
// each against the warp's own maximum.
template <int32_t kHeadDim, int32_t kHeads>
struct Parts {
  static constexpr int32_t kStride = kHeadDim + 4, kBytes = kHeads * kStride * sizeof(float);

  unsigned char* memory;  // [warps][kHeads][kStride] floats
  // From the first to the second of two warps, and to the next two.
  int32_t warp_bytes, two_bytes;
  float2 (*softmax)[kHeads];  // [warps] maximum and sum

  __device__ float* outs(int32_t warp, int32_t at) const {
    return reinterpret_cast<float*>(memory + warp / 2 * two_bytes + warp % 2 * warp_bytes) +
           at * kStride;
  }
  __device__ void put(const Queries<kHeadDim>& s, int32_t group, int32_t warp, int32_t g,
                      int32_t t) const {
#pragma unroll
    for (int32_t half = 0; half < 2; ++half) {
      const int32_t at = half * 8 + g;
      if (at >= group) continue;
      if (t == 0) softmax[warp][at] = {s.largest[half], s.sum[half]};
#pragma unroll
      for (int32_t n = 0; n < kHeadDim / 8; ++n) {
        *reinterpret_cast<float2*>(outs(warp, at) + n * 8 + 2 * t) = {s.out[n][2 * half],
                                                                      s.out[n][2 * half + 1]};
      }
    }
  }
};

// What the kCluster blocks of a cluster send to one of them: its part of the outputs, four at a
// time.
template <int32_t kHeadDim, int32_t kHeads, int32_t kCluster>
struct Received {
  static constexpr int32_t kMost = kHeads * kHeadDim / 4 + kCluster;
  float4 outs[kMost];  // [blocks][outputs of a block]
  float2 softmax[kMost];
  uint64_t full;
};

// Four consecutive sums, and the maximum and the sum that they stand against.
struct Joined {
  float4 out{0, 0, 0, 0};
  float2 softmax{kNone, 0};

  // Of up to kMost parts; get(n, out, softmax) is the n-th's.
  template <int32_t kMost, typename Get>
  __device__ static Joined of(int32_t parts, const Get& get) {
    float4 outs[kMost];
    float2 softmaxes[kMost];
    Joined all;
#pragma unroll
    for (int32_t n = 0; n < kMost; ++n) {
      outs[n] = {0, 0, 0, 0}, softmaxes[n] = {kNone, 0};
      if (n < parts) get(n, outs[n], softmaxes[n]);
    }
#pragma unroll
    for (int32_t n = 0; n < kMost; ++n) all.softmax.x = fmaxf(all.softmax.x, softmaxes[n].x);
#pragma unroll
    for (int32_t n = 0; n < kMost; ++n) {
      const float safe = all.softmax.x == kNone ? 0.0f : all.softmax.x;
      const float factor = exp2f((softmaxes[n].x - safe) * kLog2E);
      all.softmax.y += softmaxes[n].y * factor;
      all.out.x += outs[n].x * factor, all.out.y += outs[n].y * factor;
      all.out.z += outs[n].z * factor, all.out.w += outs[n].w * factor;
    }
    return all;
  }
  // Of any number of them.
  template <typename Get>
  __device__ static Joined of_many(int32_t parts, const Get& get) {
    constexpr int32_t kAtOnce = 8;
    Joined all = of<kAtOnce>(parts, get);
#pragma unroll 1
    for (int32_t n = kAtOnce; n < parts; n += kAtOnce - 1) {
      all = of<kAtOnce>(parts - n + 1, [&](int32_t i, float4& out, float2& softmax) {
        if (i == 0) {
          out = all.out, softmax = all.softmax;
        } else {
          get(n + i - 1, out, softmax);
        }
      });
    }
    return all;
  }
  // Divided, as element `at` and the next of what attention gives.
  __device__ void put(const AttentionArgs& a, int64_t at) const {
    const float inverse = 1.0f / softmax.y;
    *reinterpret_cast<uint2*>(a.attended + at) = {
        pack_input(out.x * inverse, out.y * inverse, a.f16),
        pack_input(out.z * inverse, out.w * inverse, a.f16)};
  }
};

}  // namespace m2::cuda::decode

#endif
