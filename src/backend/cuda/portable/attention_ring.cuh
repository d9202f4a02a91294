// Attention of decode rows on compute capability 9.0 and later: a warp's keys and values come
// through a ring in shared memory, by bulk copies, so that more is under way than registers hold.
#pragma once

#include "backend/cuda/portable/attention_queries.cuh"
#include "backend/cuda/portable/bulk_copy.cuh"

#ifdef __CUDACC__

namespace m2::cuda::decode {

// A warp's own. A stage is a group's keys and, behind them, its values, as they lie in the planes;
// round r of a stage is there when its barrier has passed phase r.
template <int32_t kHeadDim, typename Element, int32_t kStages>
struct Ring {
  static constexpr int32_t kElements = kKeyGroup * kHeadDim;  // of keys, and of values
  static constexpr uint32_t kPlaneBytes = kElements * sizeof(Element);

  Element* memory;  // [kStages][2][kElements]
  uint64_t* full;   // [kStages]

  // By one lane, before the first fetch and a __syncwarp().
  __device__ void init() const {
    for (int32_t i = 0; i < kStages; ++i) init_barrier(&full[i], 1);
    fence_barriers();
  }
  // By one lane, when no lane reads what the stage holds. `at`: of the planes, in elements.
  __device__ void fetch(const AttentionArgs& a, int64_t at, int32_t stage) const {
    Element* to = memory + stage * 2 * kElements;
    expect_bytes(&full[stage], 2 * kPlaneBytes);
    copy_bulk(to, static_cast<const Element*>(a.kv.keys) + at, kPlaneBytes, &full[stage]);
    copy_bulk(to + kElements, static_cast<const Element*>(a.kv.values) + at, kPlaneBytes,
              &full[stage]);
  }
};

// The row's own key and value, which the planes do not have when the ring is filled.
struct Newest {
  int32_t group = -1, within = 0;  // its group of the row's keys, and place there; -1: none
  const bf16_t *key = nullptr, *value = nullptr;  // [head_dim] of shared memory
};

__device__ inline void put_element(bf16_t* to, bf16_t x) { *to = x; }
__device__ inline void put_element(uint8_t* to, bf16_t x) {  // exact: x was widened from e4m3
  *to = __nv_cvt_float_to_fp8(bf16_low(x), __NV_SATFINITE, __NV_E4M3);
}

// Groups [begin, end) of keys, of which the first kStages are under way; `both` says that there are
// more than 8 queries.
template <int32_t kHeadDim, typename Element, int32_t kStages>
__device__ void attend(Queries<kHeadDim>& s, const Ring<kHeadDim, Element, kStages>& ring,
                       const AttentionArgs& a, const int32_t* blocks, int32_t head, int32_t begin,
                       int32_t end, bool both, const Newest& newest, int32_t lane) {
  using R = Ring<kHeadDim, Element, kStages>;
  const int32_t g = lane / 4, t = lane % 4;
  int32_t stage = 0, round = 0;
#pragma unroll 1
  for (int32_t n = begin; n < end; ++n) {
    // Its block is looked up while this one is used.
    const int32_t fetched = n + kStages;
    const int64_t fetched_at = fetched < end ? a.kv.group_at(blocks, fetched * kKeyGroup, head) : 0;
    Element* keys = ring.memory + stage * 2 * R::kElements;
    Element* values = keys + R::kElements;
    wait_barrier(&ring.full[stage], round & 1);
    if (n == newest.group) {
#pragma unroll
      for (int32_t d = lane; d < kHeadDim; d += 32) {
        put_element(keys + newest.within * kHeadDim + d, newest.key[d]);
        put_element(values + d * kKeyGroup + newest.within, newest.value[d]);
      }
      __syncwarp();
    }
    float scores[2][4] = {};
    const Element* from = keys + (g / 2 * 4 + g % 2) * kHeadDim + 8 * t;
#pragma unroll
    for (int32_t i = 0; i < kHeadDim / 32; ++i) {
      const uint4 low = s.q_low[i], high = s.q_high[i];
      const uint4 k0 = load_eight(from + 32 * i), k1 = load_eight(from + 32 * i + 2 * kHeadDim);
      mma(scores[0], low.x, high.x, low.y, high.y, k0.x, k0.y);
      mma(scores[1], low.x, high.x, low.y, high.y, k1.x, k1.y);
      mma(scores[0], low.z, high.z, low.w, high.w, k0.z, k0.w);
      mma(scores[1], low.z, high.z, low.w, high.w, k1.z, k1.w);
    }
    float p[2][4] = {};
    soften<kHeadDim>(s, scores, 0, n * kKeyGroup, a.scale, t, p[0]);
    if (both) soften<kHeadDim>(s, scores, 1, n * kKeyGroup, a.scale, t, p[1]);
    const uint32_t a0 = pack_bf16(p[0][0], p[0][1]), a2 = pack_bf16(p[0][2], p[0][3]);
    const uint32_t a1 = pack_bf16(p[1][0], p[1][1]), a3 = pack_bf16(p[1][2], p[1][3]);
#pragma unroll
    for (int32_t d = 0; d < kHeadDim / 8; ++d) {
      const uint2 v = load_four(values + (d * 8 + g) * kKeyGroup + 4 * t);
      mma(s.out[d], a0, a1, a2, a3, v.x, v.y);
    }
    __syncwarp();
    if (lane == 0 && fetched < end) ring.fetch(a, fetched_at, stage);
    if (++stage == kStages) stage = 0, ++round;
  }
}

}  // namespace m2::cuda::decode

#endif
