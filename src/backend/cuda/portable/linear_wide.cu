// Dense FP8 products of 65 to 128 tokens. There the tokens are the larger part of what a
// multiprocessor reads, so a block takes 32 or 64 rows of weights at once and brings tokens
// and weights through a ring in shared memory; its warps share the rows and, within a stage, the
// columns. The first weights are fetched before the kernel ahead has ended.
#include "backend/cuda/portable/async_copy.cuh"
#include "backend/cuda/portable/linear.cuh"

namespace m2::cuda {
namespace {

constexpr int32_t kWarps = 8, kThreads = kWarps * 32, kStages = 4;

template <int32_t kRowWarps, int32_t kTokens>
struct Shape {
  static constexpr int32_t kRows = kRowWarps * 16;
  static constexpr int32_t kSplit = kWarps / kRowWarps;  // parts of a stage's columns
  static constexpr int32_t kColumns = kSplit * 64;       // of a stage
  // Bytes; 16 lanes' vectors of two rows then lie in different banks.
  static constexpr int32_t kWeightStride = kColumns + 64, kXStride = 2 * kColumns + 16;
  static constexpr int32_t kWeightBytes = kRows * kWeightStride, kXBytes = kTokens * kXStride;
  static constexpr int32_t kSums = kTokens / 2;  // of a lane
  static constexpr size_t kRingBytes = size_t{kStages} * (kWeightBytes + kXBytes);
  static constexpr size_t kSumBytes = size_t{kWarps} * kSums * 32 * sizeof(float);
  static constexpr size_t kBytes = kRingBytes > kSumBytes ? kRingBytes : kSumBytes;
};

template <LinearKind kKind, int32_t kRowWarps, int32_t kTokens>
__global__ void __launch_bounds__(kThreads) wide_kernel(LinearArgs a, Mark mark) {
  using S = Shape<kRowWarps, kTokens>;
  M2_DYNAMIC_SHARED(unsigned char, 16, memory);
  unsigned char* x_ring = memory + kStages * S::kWeightBytes;
  const int32_t columns = a.weights.columns, num_stages = columns / S::kColumns;
  const int32_t first_row = blockIdx.x * S::kRows, first = blockIdx.y * kTokens;
  const int32_t count = min(kTokens, a.tokens - first);
  const auto* data = static_cast<const char*>(a.weights.data) + int64_t{first_row} * columns;

  constexpr int32_t kRowVectors = S::kColumns / 16, kTokenVectors = S::kColumns / 8;
  const auto fetch_weights = [&](int32_t stage) {
    if (stage >= num_stages) return;
    unsigned char* to = memory + stage % kStages * S::kWeightBytes;
#pragma unroll
    for (int32_t i = threadIdx.x; i < S::kRows * kRowVectors; i += kThreads) {
      const int32_t row = i / kRowVectors, at = i % kRowVectors * 16;
      copy_async(to + row * S::kWeightStride + at,
                 data + int64_t{row} * columns + stage * S::kColumns + at);
    }
  };
  const auto fetch_x = [&](int32_t stage) {
    if (stage >= num_stages) return;
    unsigned char* to = x_ring + stage % kStages * S::kXBytes;
#pragma unroll
    for (int32_t i = threadIdx.x; i < kTokens * kTokenVectors; i += kThreads) {
      const int32_t token = i / kTokenVectors, at = i % kTokenVectors;
      if (token >= count) continue;  // its sums are never stored
      copy_async(to + token * S::kXStride + at * 16,
                 a.x + int64_t{first + token} * columns + stage * S::kColumns + at * 8);
    }
  };
  for (int32_t i = 0; i < kStages - 1; ++i) fetch_weights(i);
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int32_t row_warp = warp % kRowWarps, part_of = warp / kRowWarps;
  // A warp's 16 rows lie within one row of scales.
  const float* scales = a.weights.scales + (first_row + row_warp * 16) / 64 * (columns / 64);
  float scale = __ldg(scales + part_of);
  wait_for_previous();
  start_next(mark);
  for (int32_t i = 0; i < kStages - 1; ++i) fetch_x(i), commit_copies();

  float sums[kTokens / 8][4] = {};
  for (int32_t stage = 0; stage < num_stages; ++stage) {
    wait_copies<kStages - 2>();
    __syncthreads();
    fetch_weights(stage + kStages - 1);
    fetch_x(stage + kStages - 1);
    commit_copies();
    const unsigned char* rows = memory + stage % kStages * S::kWeightBytes +
                                (row_warp * 16 + g) * S::kWeightStride + part_of * 64 + t * 16;
    const uint4 low = *reinterpret_cast<const uint4*>(rows);
    const uint4 high = *reinterpret_cast<const uint4*>(rows + 8 * S::kWeightStride);
    const uint32_t four_low[] = {low.x, low.y, low.z, low.w};
    const uint32_t four_high[] = {high.x, high.y, high.z, high.w};
    uint32_t weights[4][4];
#pragma unroll
    for (int32_t step = 0; step < 4; ++step) {
      weights[step][0] = widen_low(four_low[step]);
      weights[step][1] = widen_low(four_high[step]);
      weights[step][2] = widen_high(four_low[step]);
      weights[step][3] = widen_high(four_high[step]);
    }
    const float now = scale;
    scale = __ldg(scales + min(stage + 1, num_stages - 1) * S::kSplit + part_of);
    const unsigned char* tokens =
        x_ring + stage % kStages * S::kXBytes + g * S::kXStride + part_of * 128 + t * 32;
#pragma unroll
    for (int32_t n = 0; n < kTokens / 8; ++n) {
      const auto* x = reinterpret_cast<const uint4*>(tokens + n * 8 * S::kXStride);
      const uint4 b0 = x[0], b1 = x[1];
      float part[4] = {};
      mma<true>(part, weights[0][0], weights[0][1], weights[0][2], weights[0][3], b0.x, b0.y);
      mma<true>(part, weights[1][0], weights[1][1], weights[1][2], weights[1][3], b0.z, b0.w);
      mma<true>(part, weights[2][0], weights[2][1], weights[2][2], weights[2][3], b1.x, b1.y);
      mma<true>(part, weights[3][0], weights[3][1], weights[3][2], weights[3][3], b1.z, b1.w);
#pragma unroll
      for (int32_t i = 0; i < 4; ++i) sums[n][i] += now * part[i];
    }
  }
  wait_copies<0>();
  __syncthreads();
  // The parts of the columns are added up in order, in the ring's place.
  auto* shared = reinterpret_cast<float*>(memory);
#pragma unroll
  for (int32_t n = 0; n < kTokens / 8; ++n) {
#pragma unroll
    for (int32_t i = 0; i < 4; ++i) shared[(warp * S::kSums + n * 4 + i) * 32 + lane] = sums[n][i];
  }
  __syncthreads();
  for (int32_t i = threadIdx.x; i < kRowWarps * kTokens * 8; i += kThreads) {
    const int32_t from = i % 32, odd = i / 32 % 2, n = i / 64 % (kTokens / 8);
    const int32_t of = i / 64 / (kTokens / 8), token = n * 8 + from % 4 * 2 + odd;
    if (token >= count) continue;
    float sum_low = 0, sum_high = 0;
#pragma unroll
    for (int32_t k = 0; k < S::kSplit; ++k) {
      const float* one = shared + ((k * kRowWarps + of) * S::kSums + n * 4 + odd) * 32 + from;
      sum_low += one[0];
      sum_high += one[2 * 32];
    }
    put<kKind>(a, first + token, first_row + of * 16 + from / 4, sum_low, sum_high);
  }
}

template <LinearKind kKind, int32_t kRowWarps, int32_t kTokens>
void launch(const LinearArgs& a, const Queue& queue) {
  using S = Shape<kRowWarps, kTokens>;
  const auto kernel = wide_kernel<kKind, kRowWarps, kTokens>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(S::kBytes));
  const dim3 grid(a.weights.rows / S::kRows, divide_up(a.tokens, kTokens));
  enqueue(kernel, grid, kThreads, S::kBytes, queue, a);
}

template <LinearKind kKind>
void launch_kind(const LinearArgs& a, const Queue& queue) {
  // 64 rows a block where that gives most multiprocessors one.
  const bool many = a.weights.rows % 64 == 0 && a.weights.rows / 64 * 4 >= a.multiprocessors * 3;
  many ? launch<kKind, 4, 64>(a, queue) : launch<kKind, 2, 64>(a, queue);
}

}  // namespace

bool linear_wide_serves(const LinearArgs& a, const Queue& queue) {
  return (a.kind == LinearKind::kStore || a.kind == LinearKind::kAdd) && a.weights.fp8 &&
         a.tokens > kStreamTokens && a.tokens <= 128 && a.weights.rows % 32 == 0 &&
         a.weights.columns % 256 == 0 && Shape<2, 64>::kBytes <= queue.shared_bytes &&
         Shape<4, 64>::kBytes <= queue.shared_bytes;
}

void launch_linear_wide(const LinearArgs& args, const Queue& queue) {
  args.kind == LinearKind::kStore ? launch_kind<LinearKind::kStore>(args, queue)
                                  : launch_kind<LinearKind::kAdd>(args, queue);
}

}  // namespace m2::cuda
