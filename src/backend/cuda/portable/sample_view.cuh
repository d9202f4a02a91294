// A row of logits as the sampler's steps see it, by one block; its largest element, also by the
// blocks of a cluster.
#pragma once

#include "backend/cuda/portable/cluster.cuh"

#ifdef __CUDACC__

namespace m2::cuda::sample {

inline constexpr int32_t kThreads = 1024;
// Logits are held within this, so that an infinite one gives a token and not a NaN.
inline constexpr float kLargestLogit = 1e30f, kNone = -INFINITY;

struct Candidate {
  float value;
  int32_t id;
};
__device__ inline bool before(const Candidate& a, const Candidate& b) {
  return a.value > b.value || (a.value == b.value && a.id < b.id);
}

// The elements of a row as one of the steps sees them.
struct View {
  const float* values;
  int32_t size;
  float factor, least;  // below `least`, after the factor, is -inf

  __device__ float at(int32_t i) const { return seen(values[i]); }
  __device__ float seen(float x) const {
    x = (isnan(x) ? kNone : fminf(x, kLargestLogit)) * factor;
    return x < least ? kNone : x;
  }

  // Calls visit(value, id) for this thread's share of the elements. Four at a time, and several of
  // those under way at once: one block reads a whole row.
  template <typename Visit>
  __device__ void each(Visit visit) const {
    int32_t done = 0;
    if (reinterpret_cast<uintptr_t>(values) % sizeof(float4) == 0) {
      const int32_t vectors = size / 4;
#pragma unroll 4
      for (int32_t i = threadIdx.x; i < vectors; i += kThreads) {
        const float4 four = reinterpret_cast<const float4*>(values)[i];
        visit(seen(four.x), 4 * i);
        visit(seen(four.y), 4 * i + 1);
        visit(seen(four.z), 4 * i + 2);
        visit(seen(four.w), 4 * i + 3);
      }
      done = vectors * 4;
    }
    for (int32_t i = done + threadIdx.x; i < size; i += kThreads) visit(seen(values[i]), i);
  }
};

__device__ inline Candidate block_best(const View& view, Candidate (&bests)[kThreads / 32]) {
  Candidate own{kNone, INT32_MAX};
  view.each([&](float x, int32_t i) {
    if (x > own.value) own = {x, i};
  });
  for (int32_t distance = 16; distance > 0; distance /= 2) {
    const Candidate other{__shfl_xor_sync(kAllLanes, own.value, distance),
                          __shfl_xor_sync(kAllLanes, own.id, distance)};
    if (before(other, own)) own = other;
  }
  if (threadIdx.x % 32 == 0) bests[threadIdx.x / 32] = own;
  __syncthreads();
  own = bests[0];
  for (int32_t i = 1; i < kThreads / 32; ++i) {
    if (before(bests[i], own)) own = bests[i];
  }
  __syncthreads();
  if (own.id == INT32_MAX) own.id = -1;
  return own;
}

// What a cluster needs of shared memory to find a row's largest element.
inline constexpr int32_t kSampleCluster = 8;
struct ClusterBest {
  float2 parts[kSampleCluster];  // value and id of each block's
  uint64_t full;
};

// By all blocks of a cluster, whose barriers wait for the parts (expect_from_cluster). The first
// block gets the row's best, the others what they found.
__device__ inline Candidate cluster_best(const View& view, int32_t rank, ClusterBest& shared,
                                         Candidate (&bests)[kThreads / 32]) {
  arrive_cluster();
  const int32_t part = divide_up(divide_up(view.size, kSampleCluster), 4) * 4;
  const int32_t begin = min(view.size, rank * part);
  const View own{view.values + begin, min(part, view.size - begin), view.factor, view.least};
  Candidate best = block_best(own, bests);
  if (best.id >= 0) best.id += begin;
  wait_cluster();  // for the first one's barrier
  if (threadIdx.x == 0) {
    send_cluster(&shared.parts[rank], {best.value, __uint_as_float(uint32_t(best.id))},
                 &shared.full, 0);
  }
  if (rank > 0) return best;
  wait_barrier(&shared.full, 0);
  best = {kNone, -1};
#pragma unroll
  for (const float2& other : shared.parts) {
    const Candidate candidate{other.x, static_cast<int32_t>(__float_as_uint(other.y))};
    if (candidate.id >= 0 && (best.id < 0 || before(candidate, best))) best = candidate;
  }
  return best;
}

}  // namespace m2::cuda::sample

#endif
