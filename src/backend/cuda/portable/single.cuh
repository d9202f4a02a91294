// The products of steps of few tokens on compute capability 9.0 and later, where the chain of
// kernels counts as much as the bytes. In a step of one token the norm before qkv, the choice of
// experts and the sum over them happen inside the product that needs them: a layer is qkv,
// attention, o_proj, router, gate/up, down. qkv, o_proj and lm_head serve a few tokens too.
//
// Bytes: as linear.cuh; of the experts, those of the chosen ones.
#pragma once

#include "backend/cuda/portable/linear.cuh"

namespace m2::cuda {

struct SingleArgs {
  LinearArgs linear;  // kind, weights, x, tokens, out, multiprocessors
  // kStore: with a norm weight, of one token, x = norm of the residual, and linear.x is not used.
  const bf16_t* hidden = nullptr;  // [columns]
  const float* norm = nullptr;     // [columns]
  float epsilon = 0;
  float* squares = nullptr;  // kStore: [tokens, rows / 16] sums of out's squares; may be null
  // kGateUp, kDown: x and out are by order of choice, [count, …]; kDown adds the weighted sum to
  // out, the residual.
  const float* logits = nullptr;  // [experts]
  const float* bias = nullptr;    // [experts]
  int32_t num_experts = 0, count = 0;
};

inline constexpr int32_t kMostSingleTokens = 8;  // of kStore and kAdd
inline constexpr int32_t kMostSingleExperts = 256, kMostSingleChoices = 16;

// kGateUp and kDown: one token.
bool single_serves(const SingleArgs& args, const Queue& queue);
void launch_single(const SingleArgs& args, const Queue& queue);

}  // namespace m2::cuda
