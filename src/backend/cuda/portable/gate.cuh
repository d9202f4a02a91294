// The router's product: fp32 logits of all experts, by fused multiply-adds alone, since a rounding
// may choose another expert.
#pragma once

#include "backend/cuda/portable/device.cuh"

namespace m2::cuda {

// logits[t, e] = gate[e] x[t]: the sum over all splits of what is left in them, added up by
// whoever reads them. Moves 4 * experts * width bytes; 2 flops a weight and token.
struct RouterArgs {
  const float* x = nullptr;     // [tokens, width]
  const float* gate = nullptr;  // [experts, width]
  int32_t num_tokens = 0, num_experts = 0, width = 0;
  int32_t splits = 1;       // parts of the columns
  float* logits = nullptr;  // [splits, tokens, experts]
};
void launch_router(const RouterArgs& args, const Queue& queue);

inline constexpr int32_t kRouterTile = 64;  // tokens, and experts, of a block
inline constexpr int32_t kMostRouterSplits = 32;
// As many as keep every multiprocessor busy; of all tokens together at most kMostRouterSplits
// tiles.
constexpr int32_t router_splits(int32_t tokens, int32_t experts, int32_t multiprocessors) {
  const int32_t tiles = divide_up(tokens, kRouterTile);
  const int32_t busy = multiprocessors / (tiles * divide_up(experts, kRouterTile));
  const int32_t most = kMostRouterSplits / tiles;
  const int32_t splits = busy < most ? busy : most;
  return splits < 1 ? 1 : splits;
}

}  // namespace m2::cuda
