// The choice of a token's experts by all warps of a block: what choose.cuh gives, sooner than one
// warp does, where nothing else can be done before it.
#pragma once

#include "backend/cuda/portable/choose.cuh"

#ifdef __CUDACC__

namespace m2::cuda {

// In shared memory, of a block of kWarps. A thread has one expert at most, and count * kWarps is a
// multiple of 16. First every warp puts its best experts in order, then all find their places
// among the best of all warps.
template <int32_t kWarps, int32_t kMostCount>
struct BlockChoice {
  static constexpr int32_t kThreads = kWarps * 32;
  __align__(16) uint32_t keys[kWarps * kMostCount];  // [warps][count]
  int32_t candidates[kWarps * kMostCount];
  float sigmoids[kWarps * kMostCount];
  float chosen[kMostCount];  // the sigmoids of `experts`

  // The `count` experts in falling order, ties to the lower index. By the whole block, which sees
  // them afterwards. logit(), if there is one, and `bias` are those of the thread's own expert.
  template <typename Logit>
  __device__ void choose(const Logit& logit, float bias, int32_t num_experts, int32_t count,
                         int32_t* experts) {
    const auto thread = static_cast<int32_t>(threadIdx.x);
    const int32_t lane = thread % 32;
    float s = 0;
    uint32_t key = 0;
    if (thread < num_experts) {
      s = sigmoid(logit());
      key = ordered(s + bias);
    }
    int32_t rank = 0;
#pragma unroll
    for (int32_t distance = 1; distance < 32; ++distance) {
      rank +=
          comes_before(__shfl_xor_sync(kAllLanes, key, distance), (lane ^ distance) < lane, key);
    }
    if (rank < count) {
      const int32_t place = thread / 32 * count + rank;
      keys[place] = key, candidates[place] = thread, sigmoids[place] = s;
    }
    __syncthreads();
    // Four threads a candidate, each of which compares it with a quarter of all.
    const int32_t all = kWarps * count, part = thread % 4, vectors = all / 16;
    for (int32_t c = thread / 4; c < all; c += kThreads / 4) {
      const uint32_t own = keys[c];
      int32_t before = 0;
#pragma unroll 4
      for (int32_t i = part * vectors; i < (part + 1) * vectors; ++i) {
        const uint4 four = reinterpret_cast<const uint4*>(keys)[i];
        before += comes_before(four.x, 4 * i < c, own) + comes_before(four.y, 4 * i + 1 < c, own) +
                  comes_before(four.z, 4 * i + 2 < c, own) +
                  comes_before(four.w, 4 * i + 3 < c, own);
      }
      before += __shfl_xor_sync(kAllLanes, before, 1);
      before += __shfl_xor_sync(kAllLanes, before, 2);
      if (part == 0 && before < count) {
        experts[before] = candidates[c];
        chosen[before] = sigmoids[c];
      }
    }
    __syncthreads();
  }
  // The weight of the i-th choice: its share of the sigmoids' sum.
  __device__ float weight(int32_t i, int32_t count) const {
    float sum = 0;
    for (int32_t n = 0; n < count; ++n) sum += chosen[n];
    return chosen[i] / (sum > 0 ? sum : 1.0f);
  }

 private:
  // Of equal keys the earlier one comes first. No key of ordered() is the largest integer.
  __device__ static int32_t comes_before(uint32_t other, bool earlier, uint32_t own) {
    return other + (earlier ? 1 : 0) > own ? 1 : 0;
  }
};

}  // namespace m2::cuda

#endif
