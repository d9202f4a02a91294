#include "backend/cuda/portable/qk_norm.cuh"

namespace m2::cuda {
namespace {

constexpr int32_t kThreads = 256;
// Up to so many tokens a block takes one KV head and its query heads, and sums the squares of all
// heads for itself; from there on it takes all heads of its token.
constexpr int32_t kSplitTokens = 64;
constexpr size_t kStaticBytes = 32 * sizeof(float);  // of shared memory

__device__ inline float sum_of_squares(const float* x, int32_t width) {
  float sum = 0;
#pragma unroll 6
  for (int32_t i = threadIdx.x; i < width / 4; i += kThreads) {
    const float4 v = reinterpret_cast<const float4*>(x)[i];
    sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
  }
  return sum;
}

__global__ void __launch_bounds__(kThreads) qk_norm_kernel(QkNormArgs a, Mark mark) {
  __shared__ float shared[32];
  wait_for_previous();
  start_next(mark);
  const int32_t t = blockIdx.x, head_dim = a.kv.head_dim, group = a.num_heads / a.kv.num_heads;
  const int32_t q_width = a.num_heads * head_dim, kv_width = a.kv.num_heads * head_dim;
  const float* q = a.qkv + int64_t{t} * (q_width + 2 * kv_width);
  const float* k = q + q_width;
  const float* v = k + kv_width;
  const int32_t position = a.position[t];
  const int32_t* blocks = a.blocks + a.rows[a.token_row[t]].first_block;
  const float2* rotation = a.rotation + int64_t{t} * a.half;
  float q_squares = sum_of_squares(q, q_width), k_squares = sum_of_squares(k, kv_width);
  q_squares = block_sum(q_squares, shared);
  k_squares = block_sum(k_squares, shared);
  const float q_factor = 1.0f / sqrtf(q_squares / static_cast<float>(q_width) + a.epsilon);
  const float k_factor = 1.0f / sqrtf(k_squares / static_cast<float>(kv_width) + a.epsilon);
  const int32_t head = blockIdx.y;
  const int32_t q_begin = head * group * head_dim, k_begin = head * head_dim;
  for (int32_t i = threadIdx.x; i < group * head_dim; i += kThreads) {
    const int32_t d = i % head_dim, begin = q_begin + i - d;
    a.q[int64_t{t} * q_width + begin + d] =
        to_bf16(normed_rotated(q + begin, a.q_norm + begin, q_factor, d, a.half, rotation));
  }
  const int64_t place = a.kv.group_at(blocks, position, head);
  const int32_t within = position % kKeyGroup;
  for (int32_t d = threadIdx.x; d < head_dim; d += kThreads) {
    a.kv.store(a.kv.keys, place + within * head_dim + d,
               normed_rotated(k + k_begin, a.k_norm + k_begin, k_factor, d, a.half, rotation));
    a.kv.store(a.kv.values, place + d * kKeyGroup + within, v[k_begin + d]);
  }
}

// A block a token: q and k are read once, normed into shared memory, and rotated from there.
__global__ void __launch_bounds__(kThreads) many_qk_norm_kernel(QkNormArgs a, Mark mark) {
  extern __shared__ __align__(16) float normed[];  // [q, then k]
  __shared__ float shared[32];
  wait_for_previous();
  start_next(mark);
  const int32_t t = blockIdx.x, head_dim = a.kv.head_dim;
  const int32_t q_width = a.num_heads * head_dim, kv_width = a.kv.num_heads * head_dim;
  const auto* from = reinterpret_cast<const float4*>(a.qkv + int64_t{t} * (q_width + 2 * kv_width));
  const int32_t position = a.position[t];
  const int32_t* blocks = a.blocks + a.rows[a.token_row[t]].first_block;
  const float2* rotation = a.rotation + int64_t{t} * a.half;
  float squares[2] = {};
#pragma unroll 8
  for (int32_t i = threadIdx.x; i < (q_width + kv_width) / 4; i += kThreads) {
    const float4 v = from[i];
    reinterpret_cast<float4*>(normed)[i] = v;
    const float square = v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
    squares[0] += i * 4 < q_width ? square : 0.0f;
    squares[1] += i * 4 < q_width ? 0.0f : square;
  }
  const float q_squares = block_sum(squares[0], shared), k_squares = block_sum(squares[1], shared);
  const float q_factor = 1.0f / sqrtf(q_squares / static_cast<float>(q_width) + a.epsilon);
  const float k_factor = 1.0f / sqrtf(k_squares / static_cast<float>(kv_width) + a.epsilon);
  // Two neighbours a thread: halves of what is rotated are even.
#pragma unroll 4
  for (int32_t i = threadIdx.x * 2; i < q_width; i += kThreads * 2) {
    const int32_t d = i % head_dim, begin = i - d;
    const auto one = [&](int32_t at) {
      return normed_rotated(normed + begin, a.q_norm + begin, q_factor, at, a.half, rotation);
    };
    *reinterpret_cast<uint32_t*>(a.q + int64_t{t} * q_width + i) = pack_bf16(one(d), one(d + 1));
  }
  const int32_t within = position % kKeyGroup;
  const float* v = reinterpret_cast<const float*>(from) + q_width + kv_width;
#pragma unroll 4
  for (int32_t i = threadIdx.x; i < kv_width; i += kThreads) {
    const int32_t head = i / head_dim, d = i % head_dim, begin = i - d;
    const int64_t place = a.kv.group_at(blocks, position, head);
    a.kv.store(
        a.kv.keys, place + within * head_dim + d,
        normed_rotated(normed + q_width + begin, a.k_norm + begin, k_factor, d, a.half, rotation));
    a.kv.store(a.kv.values, place + d * kKeyGroup + within, v[i]);
  }
}

}  // namespace

void launch_qk_norm(const QkNormArgs& args, const Queue& queue) {
  const size_t shared_bytes =
      size_t(args.num_heads + args.kv.num_heads) * args.kv.head_dim * sizeof(float);
  if (args.num_tokens <= kSplitTokens || shared_bytes + kStaticBytes > queue.shared_bytes) {
    enqueue(qk_norm_kernel, dim3(args.num_tokens, args.kv.num_heads), kThreads, 0, queue, args);
    return;
  }
  cudaFuncSetAttribute(many_qk_norm_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(shared_bytes));
  enqueue(many_qk_norm_kernel, args.num_tokens, kThreads, shared_bytes, queue, args);
}

}  // namespace m2::cuda
