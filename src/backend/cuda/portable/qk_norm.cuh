// Between the projections and attention: RMS norm of q and of k over all heads, rotation of the
// first rotary_dim dimensions, and the KV store.
#pragma once

#include "backend/cuda/portable/kv_cache.cuh"

namespace m2::cuda {

// Moves 4 * parts bytes in and 2 out an element of qkv; some 10 flops an element.
struct QkNormArgs {
  const float* qkv = nullptr;  // [parts, tokens, q + 2 * kv], to be added up
  int32_t parts = 1;
  const int32_t* token_row = nullptr;  // [tokens]
  const int32_t* position = nullptr;   // [tokens]
  const RowInfo* rows = nullptr;
  const int32_t* blocks = nullptr;
  const float* q_norm = nullptr;     // [q]
  const float* k_norm = nullptr;     // [kv]
  const float2* rotation = nullptr;  // [tokens, half] of embed.cuh
  int32_t num_tokens = 0, num_heads = 0, half = 0;
  float epsilon = 0;
  bf16_t* q = nullptr;  // [tokens, q] normed and rotated
  KvPlanes kv;
};

#ifdef __CUDACC__

// Element i of a head, normed, and rotated where i is below the rotary dimension: pairs (i, i +
// half).
__device__ inline float normed_rotated(const float* head, const float* norm, float factor,
                                       int32_t i, int32_t half, const float2* rotation) {
  const float x = head[i] * factor * __ldg(norm + i);
  if (i >= 2 * half) return x;
  const int32_t other = i < half ? i + half : i - half;
  const float y = head[other] * factor * __ldg(norm + other);
  const float2 angle = rotation[i < half ? i : other];
  return i < half ? x * angle.x - y * angle.y : x * angle.x + y * angle.y;
}

#endif

// Of shared memory, where a block has it; one with less takes qkv in one part only.
inline constexpr size_t kQkNormStaticBytes = 32 * sizeof(float);
constexpr size_t qk_norm_bytes(int32_t heads, int32_t kv_heads, int32_t head_dim) {
  return size_t(heads + 2 * kv_heads) * head_dim * sizeof(float) + kQkNormStaticBytes;
}
void launch_qk_norm(const QkNormArgs& args, const Queue& queue);

}  // namespace m2::cuda
