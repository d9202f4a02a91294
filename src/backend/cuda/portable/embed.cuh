// The first op of a step: embedding rows to the residual stream, and the angles of its positions.
#pragma once

#include "backend/cuda/portable/device.cuh"

namespace m2::cuda {

// hidden[t] = embed[tokens[t] - vocab_begin], zeros for ids of other ranks; a token of -1 is the
// last one drawn for the slot of the token's row. Moves 4 * tokens * width bytes, no flops.
struct EmbedArgs {
  const int32_t* tokens = nullptr;     // [tokens]
  const int32_t* token_row = nullptr;  // [tokens]
  const int32_t* position = nullptr;   // [tokens]
  const RowInfo* rows = nullptr;
  const int32_t* last_token = nullptr;       // [slots]
  const float* inverse_frequency = nullptr;  // [half]
  const bf16_t* embed = nullptr;             // [vocab_count, width]
  int32_t vocab_begin = 0, vocab_count = 0, width = 0, half = 0, num_tokens = 0;
  bf16_t* hidden = nullptr;    // [tokens, width]
  float2* rotation = nullptr;  // [tokens, half] cosine and sine
};
void launch_embed(const EmbedArgs& args, const Queue& queue);

}  // namespace m2::cuda
