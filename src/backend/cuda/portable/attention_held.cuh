// Attention of one decode row on compute capability 9.0 and later: the first group of a warp is in
// registers and the next one or two in its ring, all before the kernel ahead has ended. More stages
// would leave no room for the next kernel's weights, which come meanwhile.
#pragma once

#include "backend/cuda/portable/attention_group.cuh"
#include "backend/cuda/portable/attention_ring.cuh"

#ifdef __CUDACC__

namespace m2::cuda::decode {

// Every second warp has two stages: as groups are spread, it is these that have one more.
inline constexpr int32_t kHeldStagesOfTwo = 3;
__device__ inline int32_t held_stages(int32_t warp) { return 1 + warp % 2; }

template <int32_t kHeadDim, typename Element>
struct Held {
  using R = Ring<kHeadDim, Element, 2>;  // of which the second stage may not be the warp's

  R ring;
  int32_t stages;
  int32_t begin, end;   // groups of the warp
  int32_t fetched_end;  // of them, those that the planes have something of
  Group<kHeadDim, Element> group{};

  // Group n of the row comes into this stage, in this round.
  __device__ int32_t stage(int32_t n) const { return stages == 1 ? 0 : (n - begin) % 2; }
  __device__ uint32_t round(int32_t n) const { return (n - begin) / stages; }
  __device__ const Element* keys(int32_t n) const {
    return ring.memory + stage(n) * 2 * R::kElements;
  }
  // By the warp, with the first groups under way: takes one, and begins the next. `group_at(n)` is
  // where group n lies in the planes.
  template <typename GroupAt>
  __device__ void take_first(const AttentionArgs& a, const GroupAt& group_at, int32_t lane) {
    if (begin >= fetched_end) return;
    wait_barrier(&ring.full[0], 0);
    group.keys.load(keys(begin), lane / 4, lane % 4);
    group.load_values(keys(begin) + R::kElements, lane / 4, lane % 4);
    __syncwarp();
    fetch_next(begin, a, group_at, lane);
  }
  // When group n has been taken from its stage.
  template <typename GroupAt>
  __device__ void fetch_next(int32_t n, const AttentionArgs& a, const GroupAt& group_at,
                             int32_t lane) const {
    if (lane == 0 && n + stages < fetched_end) ring.fetch(a, group_at(n + stages), stage(n));
  }
  // `both`: there are more than 8 queries. The next group is taken from the ring as this one's
  // keys and values have been used.
  template <typename GroupAt>
  __device__ void attend(Queries<kHeadDim>& s, const AttentionArgs& a, const GroupAt& group_at,
                         bool both, const Newest& newest, int32_t lane) {
    const int32_t g = lane / 4, t = lane % 4;
#pragma unroll 1
    for (int32_t n = begin; n < end; ++n) {
      // A group that was not fetched holds, beside the new key, what does not count: numbers.
      if (n == newest.group) group.put(newest.key, newest.value, newest.within, g, t);
      float scores[2][4] = {};
#pragma unroll
      for (int32_t i = 0; i < kHeadDim / 32; ++i) {
        const uint4 k0 = group.keys.first[i], k1 = group.keys.second[i];
        s.score(i, k0, k1, scores);
      }
      const bool more = n + 1 < fetched_end;
      if (more) {
        wait_barrier(&ring.full[stage(n + 1)], round(n + 1) % 2);
        group.keys.load(keys(n + 1), g, t);
      }
      const uint4 p = soften<kHeadDim>(s, scores, both, n * kKeyGroup, a.scale, t);
#pragma unroll
      for (int32_t d = 0; d < kHeadDim / 8; ++d) {
        mma(s.out[d], p.x, p.y, p.z, p.w, group.values[d].x, group.values[d].y);
      }
      if (!more) continue;
      group.load_values(keys(n + 1) + R::kElements, g, t);
      __syncwarp();
      fetch_next(n + 1, a, group_at, lane);
    }
  }
};

}  // namespace m2::cuda::decode

#endif
