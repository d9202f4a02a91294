#include "backend/cuda/portable/qk_norm.cuh"

namespace m2::cuda {
namespace {

// Few tokens leave multiprocessors idle: their blocks have more threads.
constexpr int32_t kFewTokens = 264, kFewThreads = 1024, kManyThreads = 256;
constexpr int32_t kAtOnce = 3;  // parts beside the first whose loads are under way together

// A block a token: with kStaged q, k and v are read once into shared memory, and normed and rotated
// from there; without, where a block has no room for them, they are read again, and are one part.
template <int32_t kThreads, bool kStaged>
__global__ void __launch_bounds__(kThreads) qk_norm_kernel(QkNormArgs a, Mark mark) {
  M2_DYNAMIC_SHARED(float, 16, staged);  // [q, k, v]
  __shared__ float shared[32];
  const int32_t t = blockIdx.x, head_dim = a.kv.head_dim;
  const int32_t q_width = a.num_heads * head_dim, kv_width = a.kv.num_heads * head_dim;
  const int32_t width = q_width + 2 * kv_width;
  // The step's inputs, which no kernel writes.
  const int32_t position = a.position[t];
  const int32_t* blocks = a.blocks + a.rows[a.token_row[t]].first_block;
  const int64_t first_place = a.kv.group_at(blocks, position, 0);
  const int64_t a_head = int64_t{a.kv.block_tokens} * head_dim;
  wait_for_previous();
  start_next(mark);
  const auto* from = reinterpret_cast<const float4*>(a.qkv + int64_t{t} * width);
  const int64_t a_part = int64_t{a.num_tokens} * width / 4;
  const float2* rotation = a.rotation + int64_t{t} * a.half;
  float squares[2] = {};
#pragma unroll 2
  for (int32_t i = threadIdx.x; i < width / 4; i += kThreads) {
    float4 v = from[i];
    if constexpr (kStaged) {
      for (int32_t first = 1; first < a.parts; first += kAtOnce) {
        float4 more[kAtOnce];
#pragma unroll
        for (int32_t j = 0; j < kAtOnce; ++j) {
          const bool here = first + j < a.parts;
          more[j] = here ? from[(first + j) * a_part + i] : float4{0, 0, 0, 0};
        }
#pragma unroll
        for (const float4& one : more) v.x += one.x, v.y += one.y, v.z += one.z, v.w += one.w;
      }
      reinterpret_cast<float4*>(staged)[i] = v;
    }
    const float square = v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
    if (i * 4 < q_width) {
      squares[0] += square;
    } else if (i * 4 < q_width + kv_width) {
      squares[1] += square;
    }
  }
  const float q_squares = block_sum(squares[0], shared), k_squares = block_sum(squares[1], shared);
  const float q_factor = 1.0f / sqrtf(q_squares / static_cast<float>(q_width) + a.epsilon);
  const float k_factor = 1.0f / sqrtf(k_squares / static_cast<float>(kv_width) + a.epsilon);
  if constexpr (kThreads == kFewThreads) {
    // The whole block has read them, and they are still in the cache.
    for (int32_t i = threadIdx.x; i < width / 32 * a.parts; i += kThreads) {
      discard_line(from + i / (width / 32) * a_part + i % (width / 32) * 8);
    }
  }
  const float* qkv = kStaged ? staged : reinterpret_cast<const float*>(from);
  // Two neighbours a thread: halves of what is rotated are even.
#pragma unroll 4
  for (int32_t i = threadIdx.x * 2; i < q_width; i += kThreads * 2) {
    const int32_t d = i % head_dim, begin = i - d;
    const auto one = [&](int32_t at) {
      return normed_rotated(qkv + begin, a.q_norm + begin, q_factor, at, a.half, rotation);
    };
    *reinterpret_cast<uint32_t*>(a.q + int64_t{t} * q_width + i) = pack_bf16(one(d), one(d + 1));
  }
  const int32_t within = position % kKeyGroup;
  const float *k = qkv + q_width, *v = k + kv_width;
#pragma unroll 4
  for (int32_t i = threadIdx.x; i < kv_width; i += kThreads) {
    const int32_t head = i / head_dim, d = i % head_dim, begin = i - d;
    const int64_t place = first_place + head * a_head;
    a.kv.store(a.kv.keys, place + within * head_dim + d,
               normed_rotated(k + begin, a.k_norm + begin, k_factor, d, a.half, rotation));
    a.kv.store(a.kv.values, place + d * kKeyGroup + within, v[i]);
  }
}

template <int32_t kThreads, bool kStaged>
void launch(const QkNormArgs& a, size_t shared_bytes, const Queue& queue) {
  const auto kernel = qk_norm_kernel<kThreads, kStaged>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(shared_bytes));
  if (queue.overlap) prefer_shared(kernel);
  enqueue(kernel, a.num_tokens, kThreads, shared_bytes, queue, a);
}

}  // namespace

void launch_qk_norm(const QkNormArgs& args, const Queue& queue) {
  const size_t bytes = qk_norm_bytes(args.num_heads, args.kv.num_heads, args.kv.head_dim);
  if (bytes > queue.shared_bytes) {
    launch<kManyThreads, false>(args, 0, queue);
  } else if (args.num_tokens <= kFewTokens) {
    launch<kFewThreads, true>(args, bytes - kQkNormStaticBytes, queue);
  } else {
    launch<kManyThreads, true>(args, bytes - kQkNormStaticBytes, queue);
  }
}

}  // namespace m2::cuda
