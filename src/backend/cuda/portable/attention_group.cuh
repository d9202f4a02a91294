// Attention of decode rows with a warp's next 16 keys and values in registers: alone where there
// are no bulk copies, and ahead of a ring (attention_held.cuh).
#pragma once

#include "backend/cuda/portable/attention_queries.cuh"

#ifdef __CUDACC__

namespace m2::cuda::decode {

// The operands of 16 consecutive keys: a lane's four key columns are the keys 4t to 4t + 3, which
// makes its values consecutive in the transposed plane.
template <int32_t kHeadDim>
struct Keys {
  uint4 first[kHeadDim / 32], second[kHeadDim / 32];

  template <typename Element>
  __device__ void load(const Element* keys, int32_t g, int32_t t) {
    const Element* at = keys + (g / 2 * 4 + g % 2) * kHeadDim + 8 * t;
#pragma unroll
    for (int32_t i = 0; i < kHeadDim / 32; ++i) {
      first[i] = load_eight(at + 32 * i);
      second[i] = load_eight(at + 32 * i + 2 * kHeadDim);
    }
  }
  __device__ void put(const bf16_t* key, int32_t within, int32_t g, int32_t t) {
    const int32_t own = g / 2 * 4 + g % 2;
#pragma unroll
    for (int32_t i = 0; i < kHeadDim / 32; ++i) {
      const uint4 eight = *reinterpret_cast<const uint4*>(key + 32 * i + 8 * t);
      if (own == within) first[i] = eight;
      if (own + 2 == within) second[i] = eight;
    }
  }
};

// A group's keys and values, in registers.
template <int32_t kHeadDim, typename Element>
struct Group {
  Keys<kHeadDim> keys;
  uint2 values[kHeadDim / 8];

  __device__ void load_keys(const AttentionArgs& a, int64_t at, int32_t g, int32_t t) {
    keys.load(static_cast<const Element*>(a.kv.keys) + at, g, t);
  }
  __device__ void load_values(const AttentionArgs& a, int64_t at, int32_t g, int32_t t) {
    load_values(static_cast<const Element*>(a.kv.values) + at, g, t);
  }
  __device__ void load_values(const Element* from, int32_t g, int32_t t) {
#pragma unroll
    for (int32_t n = 0; n < kHeadDim / 8; ++n) {
      values[n] = load_four(from + (n * 8 + g) * kKeyGroup + 4 * t);
    }
  }
  __device__ void load(const AttentionArgs& a, int64_t at, int32_t g, int32_t t) {
    load_keys(a, at, g, t);
    load_values(a, at, g, t);
  }
  // The key and value of the group's place `within`, [head_dim] of shared memory each.
  __device__ void put(const bf16_t* key, const bf16_t* value, int32_t within, int32_t g,
                      int32_t t) {
    keys.put(key, within, g, t);
    if (within / 4 != t) return;
    const uint32_t shift = within % 2 * 16, keep = 0xffff0000u >> shift;
#pragma unroll
    for (int32_t n = 0; n < kHeadDim / 8; ++n) {
      const uint32_t one = uint32_t{value[n * 8 + g]} << shift;
      if (within % 4 < 2) {
        values[n].x = (values[n].x & keep) | one;
      } else {
        values[n].y = (values[n].y & keep) | one;
      }
    }
  }
};

// Keys [begin, end), both multiples of a group, of which the first is loaded. The next group's keys
// are on their way while this one's values are weighted, and its values while its keys are used.
template <int32_t kHeadDim, typename Element>
__device__ void attend(Queries<kHeadDim>& s, Group<kHeadDim, Element>& group,
                       const AttentionArgs& a, const int32_t* blocks, int32_t head, int32_t begin,
                       int32_t end, int32_t g, int32_t t) {
  for (int32_t position = begin; position < end; position += kKeyGroup) {
    const int64_t next_at = a.kv.group_at(blocks, min(position + kKeyGroup, end - 1), head);
    float scores[2][4] = {};
#pragma unroll
    for (int32_t i = 0; i < kHeadDim / 32; ++i) {
      const uint4 k0 = group.keys.first[i], k1 = group.keys.second[i];
      s.score(i, k0, k1, scores);
    }
    group.load_keys(a, next_at, g, t);
    const uint4 p = soften<kHeadDim>(s, scores, true, position, a.scale, t);
#pragma unroll
    for (int32_t n = 0; n < kHeadDim / 8; ++n) {
      mma(s.out[n], p.x, p.y, p.z, p.w, group.values[n].x, group.values[n].y);
    }
    group.load_values(a, next_at, g, t);
  }
}

}  // namespace m2::cuda::decode

#endif
