// From router logits to lists of which expert works on which token.
#pragma once

#include "backend/cuda/portable/linear.cuh"

namespace m2::cuda {

inline constexpr int32_t kMaxExperts = 512;
inline constexpr int32_t kMaxExpertsPerToken = 32;

// The k largest sigmoid(logit) + bias of each token, ties to the lower index, in falling order;
// their weights are the sigmoids alone, made to sum to 1.
struct ChooseArgs {
  const float* logits = nullptr;  // [splits, tokens, experts], as gate.cuh leaves them
  int32_t splits = 1;
  const float* bias = nullptr;  // [experts]
  // Those that are not padding; padding chooses expert -1, which nobody has.
  const int32_t* real_tokens = nullptr;  // [1]
  int32_t num_tokens = 0, num_experts = 0, count = 0;
  int32_t* chosen = nullptr;  // [tokens, count]
  float* weights = nullptr;   // [tokens, count]
  int32_t* done = nullptr;    // [1] tokens that are done; 0 before and after
};
// Sorts the (token, expert) pairs of this rank's experts by expert, tokens in order within each.
struct GroupArgs {
  int32_t expert_begin = 0, num_experts = 0;  // of this rank
  int32_t tile_tokens = kTileTokens;
  ExpertLists lists;
};

struct RouteArgs {
  ChooseArgs choose;
  GroupArgs group;
};
void launch_route(const RouteArgs& args, const Queue& queue);

}  // namespace m2::cuda
