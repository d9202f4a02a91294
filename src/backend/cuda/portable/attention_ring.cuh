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
      const uint4 k0 = load_eight(from + 32 * i), k1 = load_eight(from + 32 * i + 2 * kHeadDim);
      s.score(i, k0, k1, scores);
    }
    const uint4 p = soften<kHeadDim>(s, scores, both, n * kKeyGroup, a.scale, t);
#pragma unroll
    for (int32_t d = 0; d < kHeadDim / 8; ++d) {
      const uint2 v = load_four(values + (d * 8 + g) * kKeyGroup + 4 * t);
      mma(s.out[d], p.x, p.y, p.z, p.w, v.x, v.y);
    }
    __syncwarp();
    if (lane == 0 && fetched < end) ring.fetch(a, fetched_at, stage);
    if (++stage == kStages) stage = 0, ++round;
  }
}

}  // namespace m2::cuda::decode

#endif
