#include "backend/cuda/portable/gate.cuh"

namespace m2::cuda {
namespace {

// Four groups of 64 threads share the columns of a stage; a thread takes 8 tokens and 8 experts.
constexpr int32_t kGroups = 4, kThreads = kGroups * 64;
constexpr int32_t kStages = 4, kColumns = 32;                // of a stage
constexpr int32_t kStride = kColumns + 4;                    // floats a row, against bank conflicts
constexpr int32_t kSumStride = kRouterTile + 4;              // likewise
constexpr int32_t kStageFloats = 2 * kRouterTile * kStride;  // experts, then tokens
constexpr size_t kSharedBytes = size_t{kStages} * kStageFloats * sizeof(float);
static_assert(kGroups * kRouterTile * kSumStride <= kStages * kStageFloats);

// Zeros instead where there is nothing to copy.
__device__ inline void copy_or_zero(void* to, const void* from, bool here) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
               "r"(here ? 16 : 0));
}

// What the kernel works on: inputs that are normed already, or not.
struct Inputs {
  static constexpr bool kNorm = false;
  using Element = float;
  static constexpr int32_t kRowBytes = kStride * sizeof(float);  // 36 words: no bank twice
  static __device__ const RouterArgs& router(const RouterArgs& a) { return a; }
  static __device__ const float* rows(const RouterArgs& a) { return a.x; }
  static __device__ float4 four(const float* x) { return *reinterpret_cast<const float4*>(x); }
};
struct Unnormed {
  static constexpr bool kNorm = true;
  using Element = bf16_t;
  static constexpr int32_t kRowBytes = 80;  // 20 words: likewise
  static __device__ const RouterArgs& router(const SplitNormRouterArgs& a) { return a.router; }
  static __device__ const bf16_t* rows(const SplitNormRouterArgs& a) { return a.hidden; }
  static __device__ float4 four(const bf16_t* x) {
    const uint2 v = *reinterpret_cast<const uint2*>(x);
    return {bf16_low(v.x), bf16_high(v.x), bf16_low(v.y), bf16_high(v.y)};
  }
};

// One row, by a block.
__device__ void norm_row(const SplitNormRouterArgs& a, int64_t row, float* shared) {
  const int32_t vectors = a.router.width / 4;
  const auto* x = reinterpret_cast<const uint2*>(a.hidden + row * a.router.width);
  const auto* weights = reinterpret_cast<const float4*>(a.norm);
  float squares = 0;
#pragma unroll 4
  for (int32_t i = threadIdx.x; i < vectors; i += kThreads) {
    const uint2 v = x[i];
    squares += bf16_low(v.x) * bf16_low(v.x) + bf16_high(v.x) * bf16_high(v.x) +
               bf16_low(v.y) * bf16_low(v.y) + bf16_high(v.y) * bf16_high(v.y);
  }
  const float mean = block_sum(squares, shared) / static_cast<float>(a.router.width);
  const float factor = 1.0f / sqrtf(mean + a.epsilon);
  if (threadIdx.x == 0) a.factors[row] = factor;
#pragma unroll 4
  for (int32_t i = threadIdx.x; i < vectors; i += kThreads) {
    const uint2 v = x[i];
    const float4 w = __ldg(weights + i);
    reinterpret_cast<uint2*>(a.normed + row * a.router.width)[i] = {
        pack_input(bf16_low(v.x) * factor * w.x, bf16_high(v.x) * factor * w.y, a.f16),
        pack_input(bf16_low(v.y) * factor * w.z, bf16_high(v.y) * factor * w.w, a.f16)};
  }
}

template <typename In, typename Args>
__global__ void __launch_bounds__(kThreads) router_kernel(Args args, Mark mark) {
  extern __shared__ __align__(16) float memory[];
  const RouterArgs& a = In::router(args);
  if constexpr (In::kNorm) {
    // The blocks after those of the product have a row each.
    if (const int32_t part = static_cast<int32_t>(blockIdx.z) - a.splits; part >= 0) {
      wait_for_previous();
      start_next(mark);
      const int64_t row = (int64_t{part} * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
      if (row < a.num_tokens) norm_row(args, row, memory);
      return;
    }
  }
  const int32_t first_expert = blockIdx.x * kRouterTile, first_token = blockIdx.y * kRouterTile;
  const int32_t count = min(kRouterTile, a.num_tokens - first_token);
  const int32_t stages = divide_up(a.width, kColumns);
  const auto begin = static_cast<int32_t>(int64_t{blockIdx.z} * stages / a.splits);
  const auto end = static_cast<int32_t>(int64_t{blockIdx.z + 1} * stages / a.splits);
  // Rows of a matrix, at `to`, in steps of row_bytes.
  const auto fetch = [&](const auto* rows, int32_t first, int32_t most, int32_t stage, char* to,
                         int32_t row_bytes) {
    if (stage >= end) return;
    constexpr int32_t kVector = 16 / sizeof(*rows), kRowVectors = kColumns / kVector;
#pragma unroll
    for (int32_t i = threadIdx.x; i < kRouterTile * kRowVectors; i += kThreads) {
      const int32_t row = i / kRowVectors, within = i % kRowVectors;
      const int32_t column = stage * kColumns + within * kVector;
      const bool here = column < a.width;
      copy_or_zero(to + row * row_bytes + within * 16,
                   rows + int64_t{min(first + row, most - 1)} * a.width + (here ? column : 0),
                   here);
    }
  };
  const auto stage_at = [&](int32_t stage) { return memory + stage % kStages * kStageFloats; };
  const auto fetch_gate = [&](int32_t stage) {
    fetch(a.gate, first_expert, a.num_experts, stage, reinterpret_cast<char*>(stage_at(stage)),
          kStride * sizeof(float));
  };
  const auto fetch_x = [&](int32_t stage) {
    fetch(In::rows(args), first_token, a.num_tokens, stage,
          reinterpret_cast<char*>(stage_at(stage) + kRouterTile * kStride), In::kRowBytes);
  };
  for (int32_t i = 0; i < kStages - 1; ++i) fetch_gate(begin + i);
  wait_for_previous();
  start_next(mark);
  for (int32_t i = 0; i < kStages - 1; ++i) {
    fetch_x(begin + i);
    asm volatile("cp.async.commit_group;");
  }
  const int32_t group = threadIdx.x / 64, token = threadIdx.x % 8, expert = threadIdx.x / 8 % 8;
  float sums[8][8] = {};  // of the tokens token + 8 i and the experts expert + 8 j
  for (int32_t stage = begin; stage < end; ++stage) {
    asm volatile("cp.async.wait_group %0;" ::"n"(kStages - 2) : "memory");
    __syncthreads();
    fetch_gate(stage + kStages - 1);
    fetch_x(stage + kStages - 1);
    asm volatile("cp.async.commit_group;");
    const int32_t first_column = group * (kColumns / kGroups);
    const float* gate = stage_at(stage) + first_column;
    const char* x = reinterpret_cast<const char*>(stage_at(stage) + kRouterTile * kStride);
#pragma unroll
    for (int32_t column = 0; column < kColumns / kGroups; column += 4) {
      float4 w[8];
#pragma unroll
      for (int32_t j = 0; j < 8; ++j) {
        w[j] = *reinterpret_cast<const float4*>(gate + (expert + 8 * j) * kStride + column);
      }
      if constexpr (In::kNorm) {
        const int32_t at = stage * kColumns + first_column + column;
        const float4 norm =
            __ldg(reinterpret_cast<const float4*>(args.norm + min(at, a.width - 4)));
#pragma unroll
        for (auto& one : w) one.x *= norm.x, one.y *= norm.y, one.z *= norm.z, one.w *= norm.w;
      }
#pragma unroll
      for (int32_t i = 0; i < 8; ++i) {
        if (8 * i >= count) break;
        const auto* row =
            reinterpret_cast<const typename In::Element*>(x + (token + 8 * i) * In::kRowBytes);
        const float4 v = In::four(row + first_column + column);
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
  asm volatile("cp.async.wait_group 0;" ::: "memory");
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
  const auto kernel = router_kernel<Inputs, RouterArgs>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(kSharedBytes));
  const dim3 grid(divide_up(args.num_experts, kRouterTile), divide_up(args.num_tokens, kRouterTile),
                  args.splits);
  enqueue(kernel, grid, kThreads, kSharedBytes, queue, args);
}

void launch_split_norm_router(const SplitNormRouterArgs& args, const Queue& queue) {
  const auto kernel = router_kernel<Unnormed, SplitNormRouterArgs>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(kSharedBytes));
  const RouterArgs& router = args.router;
  const int32_t across = divide_up(router.num_experts, kRouterTile);
  const int32_t tiles = divide_up(router.num_tokens, kRouterTile);
  const dim3 grid(across, tiles, router.splits + divide_up(router.num_tokens, across * tiles));
  enqueue(kernel, grid, kThreads, kSharedBytes, queue, args);
}

}  // namespace m2::cuda
