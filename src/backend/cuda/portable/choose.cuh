// The choice of a token's experts by one warp. In steps of few tokens a block chooses for one where
// there are clusters (block_choice.cuh), by the same order.
#pragma once

#include "backend/cuda/portable/device.cuh"

namespace m2::cuda {

#ifdef __CUDACC__

__device__ inline float sigmoid(float x) {
  const float s = 1.0f / (1.0f + expf(-x));
  return isfinite(s) ? s : 0.0f;
}

// Unsigned integers in the order of the floats; what is not a number is 1, below all of them, and 0
// is below that.
__device__ inline uint32_t ordered(float x) {
  if (isnan(x)) return 1;
  const uint32_t bits = __float_as_uint(x);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

// What lane i < count holds: the expert that was chosen in round i, and its weight.
struct Choice {
  int32_t expert;
  float weight;
};

// What is added to the sigmoids of the experts i, i + 32, … of lane i.
template <int32_t kLaneExperts>
struct Biases {
  float values[kLaneExperts];

  __device__ static Biases load(const float* bias, int32_t num_experts, int32_t lane) {
    Biases own;
#pragma unroll
    for (int32_t i = 0; i < kLaneExperts; ++i) {
      own.values[i] = load_ahead(bias + min(i * 32 + lane, num_experts - 1));
    }
    return own;
  }
};

// The `count` largest sigmoid(logit) + bias, ties to the lower index, in falling order; weights are
// the sigmoids made to sum to 1. They are `count` different ones, also where a bias is not a
// number. Lane i holds the experts i, i + 32, … Each round takes the best of what is left.
template <int32_t kLaneExperts>
__device__ Choice choose_experts(const float* logits, const Biases<kLaneExperts>& biases,
                                 int32_t num_experts, int32_t count, int32_t lane) {
  // All loads before the first division: it branches, and what follows a branch waits for it.
  float sigmoids[kLaneExperts];
#pragma unroll
  for (int32_t i = 0; i < kLaneExperts; ++i) {
    const int32_t e = min(i * 32 + lane, num_experts - 1);
    sigmoids[i] = *static_cast<const volatile float*>(logits + e);
  }
  uint32_t keys[kLaneExperts];
#pragma unroll
  for (int32_t i = 0; i < kLaneExperts; ++i) {
    sigmoids[i] = sigmoid(sigmoids[i]);
    keys[i] = i * 32 + lane < num_experts ? ordered(sigmoids[i] + biases.values[i]) : 0;
  }
  // What a round passes from lane to lane is used a round later, so that no round waits for it.
  float own = 0, sum = 0, s_before = 0;
  int32_t own_expert = 0, expert_before = 0;
#pragma unroll 4
  for (int32_t round = 0; round < count; ++round) {
    uint32_t best[kLaneExperts];
    int32_t place[kLaneExperts];
#pragma unroll
    for (int32_t i = 0; i < kLaneExperts; ++i) best[i] = keys[i], place[i] = i;
#pragma unroll
    for (int32_t distance = 1; distance < kLaneExperts; distance *= 2) {
#pragma unroll
      for (int32_t i = 0; i + distance < kLaneExperts; i += 2 * distance) {
        const bool later = best[i + distance] > best[i];  // the lower one of equals
        best[i] = later ? best[i + distance] : best[i];
        place[i] = later ? place[i + distance] : place[i];
      }
    }
    const int32_t at = place[0];
    const uint32_t largest = warp_max(best[0]);
    const unsigned best_lanes = __ballot_sync(kAllLanes, best[0] == largest);
    const int32_t expert = at * 32 + lane;
    int32_t owner = __ffs(best_lanes) - 1;
    if (__popc(best_lanes) > 1) {  // a tie
      owner =
          static_cast<int32_t>(warp_min(best[0] == largest ? uint32_t(expert) : UINT32_MAX) % 32);
    }
    float s = 0;
#pragma unroll
    for (int32_t i = 0; i < kLaneExperts; ++i) {
      if (i != at) continue;
      s = sigmoids[i];
      if (lane == owner) keys[i] = 0;
    }
    sum += s_before;
    if (lane == round - 1) own = s_before, own_expert = expert_before;
    s_before = __shfl_sync(kAllLanes, s, owner);
    expert_before = __shfl_sync(kAllLanes, expert, owner);
  }
  sum += s_before;
  if (lane == count - 1) own = s_before, own_expert = expert_before;
  return {own_expert, own / (sum > 0 ? sum : 1.0f)};
}

#endif

}  // namespace m2::cuda
