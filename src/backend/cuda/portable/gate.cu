#include "backend/cuda/portable/async_copy.cuh"
#include "backend/cuda/portable/gate.cuh"

namespace m2::cuda {
namespace {

// Four groups of 64 threads share the columns of a stage; a thread takes 8 tokens and 8 experts.
constexpr int32_t kGroups = 4, kThreads = kGroups * 64;
constexpr int32_t kMostStages = 4, kColumns = 32;            // of a stage
constexpr int32_t kStride = kColumns + 4;                    // floats a row, against bank conflicts
constexpr int32_t kStageFloats = 2 * kRouterTile * kStride;  // experts, then tokens
// The groups' sums take the place of the stages. Their rows are padded likewise, but below 8.0 that
// would be more than a block has.
constexpr int32_t sum_stride(bool async_copies) { return kRouterTile + (async_copies ? 4 : 0); }
constexpr size_t shared_bytes(bool async_copies) {
  const int32_t stages = ring_stages(kMostStages, async_copies) * kStageFloats;
  const int32_t sums = kGroups * kRouterTile * sum_stride(async_copies);
  return size_t(stages > sums ? stages : sums) * sizeof(float);
}
static_assert(shared_bytes(false) <= least_shared_bytes(75));

__global__ void __launch_bounds__(kThreads) router_kernel(RouterArgs a, Mark mark) {
  M2_DYNAMIC_SHARED(float, 16, memory);
  constexpr int32_t kStages = ring_stages(kMostStages, kAsyncCopies);
  constexpr int32_t kSumStride = sum_stride(kAsyncCopies);
  const int32_t first_expert = blockIdx.x * kRouterTile, first_token = blockIdx.y * kRouterTile;
  const int32_t count = min(kRouterTile, a.num_tokens - first_token);
  const int32_t stages = divide_up(a.width, kColumns);
  const auto begin = static_cast<int32_t>(int64_t{blockIdx.z} * stages / a.splits);
  const auto end = static_cast<int32_t>(int64_t{blockIdx.z + 1} * stages / a.splits);
  constexpr int32_t kRowVectors = kColumns / 4;
  const auto fetch = [&](const float* rows, int32_t first, int32_t most, int32_t stage,
                         int32_t offset) {
    if (stage >= end) return;
    float* to = memory + stage % kStages * kStageFloats + offset;
#pragma unroll
    for (int32_t i = threadIdx.x; i < kRouterTile * kRowVectors; i += kThreads) {
      const int32_t row = i / kRowVectors, column = stage * kColumns + i % kRowVectors * 4;
      const bool here = column < a.width;
      copy_or_zero(to + row * kStride + i % kRowVectors * 4,
                   rows + int64_t{min(first + row, most - 1)} * a.width + (here ? column : 0),
                   here);
    }
  };
  const auto fetch_gate = [&](int32_t stage) {
    fetch(a.gate, first_expert, a.num_experts, stage, 0);
  };
  const auto fetch_x = [&](int32_t stage) {
    fetch(a.x, first_token, a.num_tokens, stage, kRouterTile * kStride);
  };
  for (int32_t i = 0; i < kStages - 1; ++i) fetch_gate(begin + i);
  wait_for_previous();
  start_next(mark);
  for (int32_t i = 0; i < kStages - 1; ++i) {
    fetch_x(begin + i);
    commit_copies();
  }
  const int32_t group = threadIdx.x / 64, token = threadIdx.x % 8, expert = threadIdx.x / 8 % 8;
  float sums[8][8] = {};  // of the tokens token + 8 i and the experts expert + 8 j
  for (int32_t stage = begin; stage < end; ++stage) {
    wait_copies<kStages - 2>();
    __syncthreads();
    fetch_gate(stage + kStages - 1);
    fetch_x(stage + kStages - 1);
    commit_copies();
    const float* gate = memory + stage % kStages * kStageFloats + group * (kColumns / kGroups);
    const float* x = gate + kRouterTile * kStride;
#pragma unroll
    for (int32_t column = 0; column < kColumns / kGroups; column += 4) {
      float4 w[8];
#pragma unroll
      for (int32_t j = 0; j < 8; ++j) {
        w[j] = *reinterpret_cast<const float4*>(gate + (expert + 8 * j) * kStride + column);
      }
#pragma unroll
      for (int32_t i = 0; i < 8; ++i) {
        if (8 * i >= count) break;
        const float4 v = *reinterpret_cast<const float4*>(x + (token + 8 * i) * kStride + column);
#pragma unroll
        for (int32_t j = 0; j < 8; ++j) {
          sums[i][j] += v.x * w[j].x;
          sums[i][j] += v.y * w[j].y;
          sums[i][j] += v.z * w[j].z;
          sums[i][j] += v.w * w[j].w;
        }
      }
    }
  }
  wait_copies<0>();
  __syncthreads();
#pragma unroll
  for (int32_t i = 0; i < 8; ++i) {
#pragma unroll
    for (int32_t j = 0; j < 8; ++j) {
      memory[(group * kRouterTile + token + 8 * i) * kSumStride + expert + 8 * j] = sums[i][j];
    }
  }
  __syncthreads();
  float* out = a.logits + (int64_t{blockIdx.z} * a.num_tokens + first_token) * a.num_experts;
#pragma unroll 4
  for (int32_t i = threadIdx.x; i < count * kRouterTile; i += kThreads) {
    const int32_t t = i / kRouterTile, e = i % kRouterTile;
    float sum = 0;
#pragma unroll
    for (int32_t k = 0; k < kGroups; ++k) sum += memory[(k * kRouterTile + t) * kSumStride + e];
    if (first_expert + e < a.num_experts) out[int64_t{t} * a.num_experts + first_expert + e] = sum;
  }
}

}  // namespace

void launch_router(const RouterArgs& args, const Queue& queue) {
  const size_t bytes = shared_bytes(queue.async_copies);
  cudaFuncSetAttribute(router_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(bytes));
  if (queue.overlap) prefer_shared(router_kernel);
  const dim3 grid(divide_up(args.num_experts, kRouterTile), divide_up(args.num_tokens, kRouterTile),
                  args.splits);
  enqueue(router_kernel, grid, kThreads, bytes, queue, args);
}

}  // namespace m2::cuda
