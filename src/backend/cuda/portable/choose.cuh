// The choice of a token's experts by one warp. For the kernels that need it: whoever works on one
// token alone chooses for itself.
#pragma once

#include "backend/cuda/portable/device.cuh"

namespace m2::cuda {

#ifdef __CUDACC__

__device__ inline float sigmoid(float x) {
  const float s = 1.0f / (1.0f + expf(-x));
  return isfinite(s) ? s : 0.0f;
}

// Unsigned integers in the order of the floats; 0 is below all of them, and not a number is 0.
__device__ inline uint32_t ordered(float x) {
  if (isnan(x)) return 0;
  const uint32_t bits = __float_as_uint(x);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

// What lane i < count holds: the expert that was chosen in round i, and its weight.
struct Choice {
  int32_t expert;
  float weight;
};

// What is added to the sigmoids of the experts i, i + 32, … of lane i: weights, which may be read
// before the kernel ahead has ended.
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
// the sigmoids made to sum to 1. Lane i holds the experts i, i + 32, … Each round takes the best of
// what is left.
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
  float own = 0, sum = 0;
  int32_t own_expert = 0;
  for (int32_t round = 0; round < count; ++round) {
    uint32_t best = 0;
    int32_t at = 0;
    float s = 0;
#pragma unroll
    for (int32_t i = 0; i < kLaneExperts; ++i) {
      if (keys[i] > best) best = keys[i], at = i, s = sigmoids[i];
    }
    const uint32_t largest = warp_max(best);
    const unsigned best_lanes = __ballot_sync(kAllLanes, best == largest);
    int32_t expert = at * 32 + lane, owner = __ffs(best_lanes) - 1;
    if (__popc(best_lanes) > 1) {  // a tie
      owner = static_cast<int32_t>(warp_min(best == largest ? uint32_t(expert) : UINT32_MAX) % 32);
    }
    // With a broken bias nothing may be left; expert 0 then stands for it.
    if (largest == 0) expert = owner = 0, s = 0;
    if (lane == owner) {
#pragma unroll
      for (int32_t i = 0; i < kLaneExperts; ++i) {
        if (i == at) keys[i] = 0;
      }
    }
    s = __shfl_sync(kAllLanes, s, owner);
    expert = __shfl_sync(kAllLanes, expert, owner);
    sum += s;
    if (lane == round) own = s, own_expert = expert;
  }
  return {own_expert, own / (sum > 0 ? sum : 1.0f)};
}

#endif

}  // namespace m2::cuda
