// One block a token; of few tokens, a cluster of blocks each where there are clusters.
#include "backend/cuda/portable/cluster_sum.cuh"
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
  // The step's inputs.
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

// The form of a cluster: a thread keeps its columns in registers, four of each of kVectors
// stretches, and a head lies within a warp, whose lanes pass each other what is rotated together.
// The sums are those of a block of kFewThreads. It has so little of a multiprocessor that
// attention's blocks have room beside it for what they read ahead.
constexpr int32_t kClusterBlocks = 4, kClusterThreads = kFewThreads / kClusterBlocks;
constexpr int32_t kMostClusterTokens = 64, kVectors = 2;

__global__ void __launch_bounds__(kClusterThreads) qk_norm_cluster_kernel(QkNormArgs a, Mark mark) {
  if constexpr (kBulkCopies) {
    __shared__ ClusterSums<kClusterBlocks, kFewThreads / 32> sums;
    sums.begin();
    const int32_t t = blockIdx.x, head_dim = a.kv.head_dim, lane = threadIdx.x % 32;
    const int32_t q_width = a.num_heads * head_dim, kv_width = a.kv.num_heads * head_dim;
    const int32_t width = q_width + 2 * kv_width;
    // The step's inputs, and weights.
    const int32_t position = a.position[t];
    const int32_t* blocks = a.blocks + a.rows[a.token_row[t]].first_block;
    const int64_t first_place = a.kv.group_at(blocks, position, 0);
    int32_t columns[kVectors], dims[kVectors];  // the first of four, in the row and in its head
    float4 norms[kVectors], angles[kVectors][2];
#pragma unroll
    for (int32_t n = 0; n < kVectors; ++n) {
      const int32_t i = n * kFewThreads + int32_t(blockIdx.z) * kClusterThreads + threadIdx.x;
      const int32_t c = columns[n] = i * 4;
      dims[n] = c % head_dim;
      norms[n] = float4{0, 0, 0, 0};
      if (c < q_width + kv_width) {
        norms[n] = load_ahead(
            reinterpret_cast<const float4*>(c < q_width ? a.q_norm + c : a.k_norm + c - q_width));
      }
    }
    wait_for_previous();
    start_next(mark);
    const auto* from = reinterpret_cast<const float4*>(a.qkv + int64_t{t} * width);
    const int64_t a_part = int64_t{a.num_tokens} * width / 4;
    float4 values[kVectors], more[kVectors][kAtOnce];
    // All loads of the first parts before the first sum.
#pragma unroll
    for (int32_t n = 0; n < kVectors; ++n) {
      const bool here = columns[n] < width;
      values[n] = here ? from[columns[n] / 4] : float4{0, 0, 0, 0};
#pragma unroll
      for (int32_t j = 0; j < kAtOnce; ++j) {
        more[n][j] =
            here && 1 + j < a.parts ? from[(1 + j) * a_part + columns[n] / 4] : float4{0, 0, 0, 0};
      }
    }
#pragma unroll
    for (int32_t n = 0; n < kVectors; ++n) {
      const int32_t d = dims[n];
      angles[n][0] = angles[n][1] = float4{0, 0, 0, 0};
      if (columns[n] >= q_width + kv_width || d >= 2 * a.half) continue;
      const auto* angle = reinterpret_cast<const float4*>(a.rotation + int64_t{t} * a.half +
                                                          (d < a.half ? d : d - a.half));
      angles[n][0] = angle[0], angles[n][1] = angle[1];
    }
    float2 squares{0, 0};
#pragma unroll
    for (int32_t n = 0; n < kVectors; ++n) {
      float4& v = values[n];
#pragma unroll
      for (const float4& one : more[n]) v.x += one.x, v.y += one.y, v.z += one.z, v.w += one.w;
      if (columns[n] >= width) continue;
#pragma unroll 1
      for (int32_t part = 1 + kAtOnce; part < a.parts; ++part) {
        const float4 one = from[part * a_part + columns[n] / 4];
        v.x += one.x, v.y += one.y, v.z += one.z, v.w += one.w;
      }
      const float square = v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
      if (columns[n] < q_width) {
        squares.x += square;
      } else if (columns[n] < q_width + kv_width) {
        squares.y += square;
      }
    }
    sums.send({warp_sum(squares.x), warp_sum(squares.y)});
    // The warp has read them, the values too, which are in no sum; they are still in the cache.
    __syncwarp();
    if (lane % 8 == 0) {
#pragma unroll
      for (int32_t n = 0; n < kVectors; ++n) {
        for (int32_t part = 0; columns[n] < width && part < a.parts; ++part) {
          discard_line(from + part * a_part + columns[n] / 4);
        }
      }
    }
    const float2 total = sums.total();
    const float q_factor = 1.0f / sqrtf(total.x / static_cast<float>(q_width) + a.epsilon);
    const float k_factor = 1.0f / sqrtf(total.y / static_cast<float>(kv_width) + a.epsilon);
    const int32_t within = position % kKeyGroup;
#pragma unroll
    for (int32_t n = 0; n < kVectors; ++n) {
      const int32_t c = columns[n], d = dims[n];
      const bool low = d < a.half, rotated = d < 2 * a.half;
      const float factor = c < q_width ? q_factor : k_factor;
      const int32_t other = !rotated ? lane : low ? lane + a.half / 4 : lane - a.half / 4;
      const auto made = [&](float v, float norm, float cosine, float sine) {
        const float x = v * factor * norm, y = __shfl_sync(kAllLanes, x, other);
        if (!rotated) return x;
        return low ? x * cosine - y * sine : x * cosine + y * sine;
      };
      const float4 &v = values[n], &norm = norms[n], *angle = angles[n];
      const float own[4] = {
          made(v.x, norm.x, angle[0].x, angle[0].y), made(v.y, norm.y, angle[0].z, angle[0].w),
          made(v.z, norm.z, angle[1].x, angle[1].y), made(v.w, norm.w, angle[1].z, angle[1].w)};
      if (c < q_width) {
        *reinterpret_cast<uint2*>(a.q + int64_t{t} * q_width + c) = {pack_bf16(own[0], own[1]),
                                                                     pack_bf16(own[2], own[3])};
        continue;
      }
      const int32_t of_kv = (c - q_width) % kv_width;
      const int64_t place =
          first_place + of_kv / head_dim * (int64_t{a.kv.block_tokens} * head_dim);
      if (c < q_width + kv_width) {
#pragma unroll
        for (int32_t i = 0; i < 4; ++i) {
          a.kv.store(a.kv.keys, place + within * head_dim + d + i, own[i]);
        }
      } else if (c < width) {
        const float plain[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int32_t i = 0; i < 4; ++i) {
          a.kv.store(a.kv.values, place + (d + i) * kKeyGroup + within, plain[i]);
        }
      }
    }
  }
}

// Whole vectors are rotated together, and no thread has more of them than its registers hold.
bool by_clusters(const QkNormArgs& a, const Queue& queue) {
  const int32_t width = (a.num_heads + 2 * a.kv.num_heads) * a.kv.head_dim;
  return queue.overlap && a.num_tokens <= kMostClusterTokens && a.half % 4 == 0 &&
         width <= kVectors * kFewThreads * 4;
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
  if (by_clusters(args, queue)) {
    prefer_shared(qk_norm_cluster_kernel);
    enqueue(qk_norm_cluster_kernel, dim3(args.num_tokens, 1, kClusterBlocks), kClusterThreads, 0,
            queue, args, kClusterBlocks);
  } else if (bytes > queue.shared_bytes) {
    launch<kManyThreads, false>(args, 0, queue);
  } else if (args.num_tokens <= kFewTokens) {
    launch<kFewThreads, true>(args, bytes - kQkNormStaticBytes, queue);
  } else {
    launch<kManyThreads, true>(args, bytes - kQkNormStaticBytes, queue);
  }
}

}  // namespace m2::cuda
