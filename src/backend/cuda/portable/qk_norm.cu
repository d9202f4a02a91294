#include "backend/cuda/portable/qk_norm.cuh"

namespace m2::cuda {
namespace {

constexpr int32_t kMaxHalf = 64;

// Element i of a head, rotated where i is below the rotary dimension: pairs (i, i + half).
__device__ inline float rotated(const float* head, const float* norm, float factor, int32_t i,
                                int32_t half, const float* cosines, const float* sines) {
  const float x = head[i] * factor * norm[i];
  if (i >= 2 * half) return x;
  const int32_t other = i < half ? i + half : i - half;
  const float y = head[other] * factor * norm[other];
  const int32_t at = i < half ? i : other;
  return i < half ? x * cosines[at] - y * sines[at] : x * cosines[at] + y * sines[at];
}

// One block a token.
__global__ void qk_norm_kernel(QkNormArgs a) {
  __shared__ float sums[32], cosines[kMaxHalf], sines[kMaxHalf];
  const int32_t t = blockIdx.x, head_dim = a.kv.head_dim, half = a.rotary_dim / 2;
  const int32_t q_width = a.num_heads * head_dim, kv_width = a.kv.num_heads * head_dim;
  const float* q = a.qkv + int64_t{t} * (q_width + 2 * kv_width);
  const float* k = q + q_width;
  const float* v = k + kv_width;
  const int32_t position = a.position[t];
  const RowInfo row = a.rows[a.token_row[t]];
  for (int32_t i = threadIdx.x; i < half; i += blockDim.x) {
    sincosf(static_cast<float>(position) * a.inverse_frequency[i], &sines[i], &cosines[i]);
  }
  float q_squares = 0, k_squares = 0;
  for (int32_t i = threadIdx.x; i < q_width; i += blockDim.x) q_squares += q[i] * q[i];
  for (int32_t i = threadIdx.x; i < kv_width; i += blockDim.x) k_squares += k[i] * k[i];
  const float q_mean = block_sum(q_squares, sums) / static_cast<float>(q_width);
  const float k_mean = block_sum(k_squares, sums) / static_cast<float>(kv_width);
  const float q_factor = 1.0f / sqrtf(q_mean + a.epsilon);
  const float k_factor = 1.0f / sqrtf(k_mean + a.epsilon);
  for (int32_t i = threadIdx.x; i < q_width; i += blockDim.x) {
    const int32_t begin = i / head_dim * head_dim;
    a.q[int64_t{t} * q_width + i] =
        to_bf16(rotated(q + begin, a.q_norm + begin, q_factor, i - begin, half, cosines, sines));
  }
  const int32_t* blocks = a.blocks + row.first_block;
  for (int32_t i = threadIdx.x; i < kv_width; i += blockDim.x) {
    const int32_t head = i / head_dim, d = i % head_dim, begin = head * head_dim;
    const int64_t group = a.kv.group_at(blocks, position, head);
    const int32_t within = position % kKeyGroup;
    a.kv.keys[group + within * head_dim + d] =
        to_bf16(rotated(k + begin, a.k_norm + begin, k_factor, d, half, cosines, sines));
    a.kv.values[group + d * kKeyGroup + within] = to_bf16(v[i]);
  }
}

}  // namespace

void launch_qk_norm(const QkNormArgs& args, cudaStream_t stream) {
  qk_norm_kernel<<<args.num_tokens, 256, 0, stream>>>(args);
}

}  // namespace m2::cuda
