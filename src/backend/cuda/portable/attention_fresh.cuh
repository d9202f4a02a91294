// Attention of decode rows: the row's own queries, key and value, which the fused form norms and
// rotates for itself, as qk_norm.cuh does for the others.
#pragma once

#include "backend/cuda/portable/attention_queries.cuh"

#ifdef __CUDACC__

namespace m2::cuda::decode {

// In shared memory: what is read before the kernel ahead has ended, and what is made of it. By the
// whole block.
template <int32_t kHeadDim, int32_t kHeads>
struct Fresh {
  float q[kHeads * kHeadDim];  // the norm's weights, then q times them
  float k[kHeadDim];           // likewise
  float2 rotation[kHeadDim / 2];
  __align__(16) bf16_t queries[kHeads][kHeadDim + 8];
  __align__(16) bf16_t key[kHeadDim];
  bf16_t value[kHeadDim];
  float q_squares[kWarps], k_squares[kWarps];

  static constexpr int32_t kThreads = kWarps * 32, kOwn = kHeads * kHeadDim / kThreads;
  // A thread keeps to one element of all heads, or of every second one.
  static constexpr int32_t kHeadsAtOnce = kThreads / kHeadDim;

  __device__ void load_norms(const FusedNorm& f, int32_t head, int32_t group) {
    const auto thread = static_cast<int32_t>(threadIdx.x);
    const float* norm = f.q_norm + head * group * kHeadDim;
#pragma unroll 4
    for (int32_t i = thread; i < group * kHeadDim; i += kThreads) q[i] = load_ahead(norm + i);
    if (thread < kHeadDim) k[thread] = load_ahead(f.k_norm + head * kHeadDim + thread);
  }
  // The row's queries of the head, normed and rotated; and with `newest`, in the block that has the
  // last group of keys, the new key and value, which it also stores: `place` is where that group
  // lies in the planes.
  __device__ void make(const AttentionArgs& a, const RowInfo& row, int64_t place, int32_t head,
                       bool newest) {
    const FusedNorm& f = a.fused;
    const int32_t group = a.num_heads / a.kv.num_heads;
    const int32_t q_width = a.num_heads * kHeadDim, kv_width = a.kv.num_heads * kHeadDim;
    const int32_t width = q_width + 2 * kv_width;
    const float* from = f.qkv + int64_t{row.first_token} * width;
    const float* squares = f.squares + int64_t{row.first_token} * (width / 16);
    const auto thread = static_cast<int32_t>(threadIdx.x);
    newest = newest && thread < kHeadDim;
    // All loads before the first use of one: what comes after a use would wait for it.
    constexpr int32_t kSquares = 4;  // of a thread; more would come one by one
    float own_squares[kSquares], own_q[kOwn], key_squares = 0, new_key = 0, new_value = 0;
#pragma unroll
    for (int32_t n = 0; n < kSquares; ++n) {
      const int32_t i = n * kThreads + thread;
      own_squares[n] = i < q_width / 16 ? squares[i] : 0;
    }
    if (thread < kv_width / 16) key_squares = squares[q_width / 16 + thread];
#pragma unroll
    for (int32_t n = 0; n < kOwn; ++n) {
      const int32_t i = n * kThreads + thread;
      own_q[n] = i < group * kHeadDim ? from[head * group * kHeadDim + i] : 0;
    }
    if (newest) {
      new_key = from[q_width + head * kHeadDim + thread];
      new_value = from[q_width + kv_width + head * kHeadDim + thread];
    }
    float2 angle_read{1, 0};
    if (thread < f.half) angle_read = f.rotation[int64_t{row.first_token} * f.half + thread];
    float q_part = 0, k_part = key_squares;
#pragma unroll
    for (const float square : own_squares) q_part += square;
#pragma unroll 1
    for (int32_t i = kSquares * kThreads + thread; i < q_width / 16; i += kThreads) {
      q_part += squares[i];
    }
#pragma unroll 1
    for (int32_t i = kThreads + thread; i < kv_width / 16; i += kThreads) {
      k_part += squares[q_width / 16 + i];
    }
#pragma unroll
    for (int32_t n = 0; n < kOwn; ++n) {
      const int32_t i = n * kThreads + thread;
      if (i < group * kHeadDim) q[i] *= own_q[n];
    }
    if (thread < f.half) rotation[thread] = angle_read;
    if (newest) k[thread] *= new_key;
    q_part = warp_sum(q_part);
    k_part = warp_sum(k_part);
    if (thread % 32 == 0) q_squares[thread / 32] = q_part, k_squares[thread / 32] = k_part;
    __syncthreads();
    float q_sum = 0, k_sum = 0;
#pragma unroll
    for (int32_t w = 0; w < kWarps; ++w) q_sum += q_squares[w], k_sum += k_squares[w];
    const float q_factor = 1.0f / sqrtf(q_sum / static_cast<float>(q_width) + f.epsilon);
    const float k_factor = 1.0f / sqrtf(k_sum / static_cast<float>(kv_width) + f.epsilon);
    // Below the rotary dimension pairs (i, i + half) are rotated; the others by nothing.
    const int32_t i = thread % kHeadDim;
    const int32_t other = i >= 2 * f.half ? i : i < f.half ? i + f.half : i - f.half;
    float cosine = 1, sine = 0;
    if (other != i) {
      const float2 angle = rotation[min(i, other)];
      cosine = angle.x, sine = i < f.half ? -angle.y : angle.y;
    }
#pragma unroll 3
    for (int32_t at = thread / kHeadDim; at < group; at += kHeadsAtOnce) {
      const float* own = q + at * kHeadDim;
      queries[at][i] = to_bf16((own[i] * cosine + own[other] * sine) * q_factor);
    }
    if (newest) {
      const int32_t within = row.context_tokens % kKeyGroup;
      key[i] = a.kv.store(a.kv.keys, place + within * kHeadDim + i,
                          (k[i] * cosine + k[other] * sine) * k_factor);
      value[i] = a.kv.store(a.kv.values, place + i * kKeyGroup + within, new_value);
    }
    __syncthreads();
  }
};

}  // namespace m2::cuda::decode

#endif
