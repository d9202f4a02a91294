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

// The `count` largest sigmoid(logit) + bias, ties to the lower index, in falling order; weights are
// the sigmoids made to sum to 1. Lane i holds the experts i, i + 32, … Each round takes the best of
// what is left.
template <int32_t kLaneExperts>
__device__ Choice choose_experts(const float* logits, const float* bias, int32_t num_experts,
                                 int32_t count, int32_t lane) {
  // All loads before the first division: it branches, and what follows a branch waits for it.
  float sigmoids[kLaneExperts], biases[kLaneExperts];
#pragma unroll
  for (int32_t i = 0; i < kLaneExperts; ++i) {
    const int32_t e = min(i * 32 + lane, num_experts - 1);
    sigmoids[i] = *static_cast<const volatile float*>(logits + e);
    biases[i] = __ldg(bias + e);
  }
  uint32_t keys[kLaneExperts];
#pragma unroll
  for (int32_t i = 0; i < kLaneExperts; ++i) {
    sigmoids[i] = sigmoid(sigmoids[i]);
    keys[i] = i * 32 + lane < num_experts ? ordered(sigmoids[i] + biases[i]) : 0;
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
    const uint32_t mine = best == largest && best > 0 ? uint32_t(at * 32 + lane) : UINT32_MAX;
    const uint32_t expert = warp_min(mine);
    // With a broken bias nothing may be left; expert 0 then stands for it.
    const int32_t owner = expert == UINT32_MAX ? 0 : int32_t(expert % 32);
    s = __shfl_sync(kAllLanes, s, owner);
    if (mine == expert && best > 0) {
#pragma unroll
      for (int32_t i = 0; i < kLaneExperts; ++i) {
        if (i == at) keys[i] = 0;
      }
    }
    sum += s;
    if (lane == round) own = s, own_expert = expert == UINT32_MAX ? 0 : int32_t(expert);
  }
  return {own_expert, own / (sum > 0 ? sum : 1.0f)};
}

#endif

}  // namespace m2::cuda
