// RMS norm of rows of the residual stream, and what comes before and after it: the sum of a token's
// experts, and the router.
#pragma once

#include "backend/cuda/portable/device.cuh"
#include "backend/cuda/portable/gate.cuh"

namespace m2::cuda {

// What is still to be added to the residual, in order: the weighted sum of a token's pairs, in the
// order of choice, as the experts of the layer before left them; or parts of a product's columns.
struct Sums {
  const float* y = nullptr;        // [pairs, width], or [count, tokens, width]; null: nothing
  const float* weights = nullptr;  // [tokens, count]; null: parts
  const int32_t* place = nullptr;  // [tokens, count] -1: not here
  int32_t count = 0;
};

inline constexpr int32_t kMaxNormWidth = 16384;

// x += sums; out[i] = x[index[i]] / rms * weight, in fp32, rounded once; exact_out is the same
// unrounded. Without an index the sum is written back to x.
// With sums and without an index, x and what the sums are found by may be read before the kernel
// ahead has ended: that is the product whose sums they are, which waits before it lets the norm
// start.
// Moves 2 * rows * width bytes in, 2 (and 4) out, and 4 * count with sums; 4 flops an element.
struct NormArgs {
  bf16_t* x = nullptr;             // [*, width]
  const int32_t* index = nullptr;  // [rows]; null: row i itself
  Sums sums{};
  const float* weight = nullptr;  // [width]
  float epsilon = 0;
  int32_t rows = 0, width = 0;
  uint16_t* out = nullptr;  // [rows, width] f16 or bf16
  bool f16 = false;
  float* exact_out = nullptr;  // [rows, width]; may be null
};
void launch_norm(const NormArgs& args, const Queue& queue);

// The norm and the router for few tokens: every expert's warps, four where there is one token and
// otherwise one, norm for themselves those that they take, all of them or two.
inline constexpr int32_t kNormRouterTokens = 8;
struct NormRouterArgs {
  NormArgs norm;      // without sums, index and exact_out
  RouterArgs router;  // x is not used, nothing is split
};
void launch_norm_router(const NormRouterArgs& args, const Queue& queue);

}  // namespace m2::cuda
