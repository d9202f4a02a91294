// RMS norm of rows of the residual stream.
#pragma once

#include "backend/cuda/portable/device.cuh"

namespace m2::cuda {

// out[i] = x[index[i]] / rms * weight, in fp32, rounded once; exact_out is the same unrounded.
// Moves 2 * rows * width bytes in, 2 (and 4) out; 4 flops an element.
struct NormArgs {
  const bf16_t* x = nullptr;       // [*, width]
  const int32_t* index = nullptr;  // [rows]; null: row i itself
  const float* weight = nullptr;   // [width]
  float epsilon = 0;
  int32_t rows = 0, width = 0;
  bf16_t* out = nullptr;       // [rows, width]
  float* exact_out = nullptr;  // [rows, width]; may be null
};
void launch_norm(const NormArgs& args, cudaStream_t stream);

}  // namespace m2::cuda
