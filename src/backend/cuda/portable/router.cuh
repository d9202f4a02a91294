// From normed activations to lists of which expert works on which token.
#pragma once

#include "backend/cuda/portable/linear.cuh"

namespace m2::cuda {

inline constexpr int32_t kMaxExperts = 512;
inline constexpr int32_t kMaxExpertsPerToken = 32;

// logits[t, e] = gate[e] x[t], all fp32. Moves 4 * experts * width bytes; 2 flops a weight and
// token.
struct RouterArgs {
  const float* x = nullptr;     // [tokens, width]
  const float* gate = nullptr;  // [experts, width]
  int32_t num_tokens = 0, num_experts = 0, width = 0;
  float* logits = nullptr;  // [tokens, experts]
};
void launch_router(const RouterArgs& args, cudaStream_t stream);

// The k largest sigmoid(logit) + bias of each token, ties to the lower index, in falling order;
// their weights are the sigmoids alone, made to sum to 1.
struct ChooseArgs {
  const float* logits = nullptr;  // [tokens, experts]
  const float* bias = nullptr;    // [experts]
  // Those that are not padding; padding chooses expert -1, which nobody has.
  const int32_t* real_tokens = nullptr;  // [1]
  int32_t num_tokens = 0, num_experts = 0, count = 0;
  int32_t* chosen = nullptr;  // [tokens, count]
  float* weights = nullptr;   // [tokens, count]
};
void launch_choose(const ChooseArgs& args, cudaStream_t stream);

// Sorts the (token, expert) pairs of this rank's experts by expert, tokens in order within each.
struct GroupArgs {
  const int32_t* chosen = nullptr;  // [pairs]
  int32_t num_pairs = 0, experts_per_token = 0;
  int32_t expert_begin = 0, num_experts = 0;  // of this rank
  ExpertLists lists;
};
void launch_group(const GroupArgs& args, cudaStream_t stream);

// hidden[t] += the weighted sum of its pairs' rows of y, in the order of choice.
struct CombineArgs {
  const float* y = nullptr;        // [pairs, width]
  const float* weights = nullptr;  // [tokens, count]
  const int32_t* place = nullptr;  // [tokens, count]
  int32_t num_tokens = 0, count = 0, width = 0;
  bf16_t* hidden = nullptr;  // [tokens, width]
};
void launch_combine(const CombineArgs& args, cudaStream_t stream);

}  // namespace m2::cuda
