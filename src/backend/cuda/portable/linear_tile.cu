// The tile form: 128 rows of weights by 64 or 32 tokens a block, chunks of 64 columns through a
// ring of shared memory. Each warp owns 16 rows and all tokens, so a weight is widened once a
// block.
#include "backend/cuda/portable/linear.cuh"

namespace m2::cuda {
namespace {

constexpr int32_t kRows = 128, kStages = 4, kThreads = 256;
constexpr int32_t kXStride = 144;  // bytes a token: 64 bf16 and 16 bytes against bank conflicts

template <bool kFp8, int32_t kTokens>
struct Stage {
  static constexpr int32_t kWeightStride = kFp8 ? 64 : 144;
  unsigned char weights[kRows * kWeightStride];
  unsigned char x[kTokens * kXStride];
};

__device__ inline void copy_async(void* to, const void* from) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from));
}
__device__ inline void commit() { asm volatile("cp.async.commit_group;"); }
template <int32_t kLeft>
__device__ void wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

template <LinearKind kKind, bool kFp8, int32_t kTokens>
__global__ void __launch_bounds__(kThreads) tile_kernel(LinearArgs a, Mark mark) {
  constexpr bool kGrouped = kKind == LinearKind::kGateUp || kKind == LinearKind::kDown;
  constexpr int32_t kBytes = kFp8 ? 1 : 2, kVectors = kFp8 ? 4 : 8;  // 16 bytes each, a row's chunk
  extern __shared__ __align__(16) unsigned char memory[];
  wait_for_previous();
  start_next(mark);
  auto* stages = reinterpret_cast<Stage<kFp8, kTokens>*>(memory);
  int32_t matrix = 0, first = blockIdx.y * kTokens, count = min(kTokens, a.tokens - first);
  if constexpr (kGrouped) {
    if (static_cast<int32_t>(blockIdx.y) >= *a.lists.num_tiles) return;
    const Work work = a.lists.tiles[blockIdx.y];
    matrix = work.matrix, first = work.first, count = work.count;
  }
  const int32_t rows = a.weights.rows, columns = a.weights.columns, num_chunks = columns / 64;
  const char* data =
      static_cast<const char*>(a.weights.data) + int64_t{matrix} * rows * columns * kBytes;

  // What this thread copies of every chunk: the same places of the weights and of x.
  constexpr int32_t kWeightCopies = kRows * kVectors / kThreads, kXCopies = kTokens * 8 / kThreads;
  const char* weight_from[kWeightCopies];
  const uint16_t* x_from[kXCopies];
#pragma unroll
  for (int32_t i = 0; i < kWeightCopies; ++i) {
    const int32_t piece = i * kThreads + threadIdx.x;
    const int32_t row =
        min(weight_row<kKind>(blockIdx.x * kRows + piece / kVectors, rows), rows - 1);
    weight_from[i] = data + int64_t{row} * columns * kBytes + piece % kVectors * 16;
  }
#pragma unroll
  for (int32_t i = 0; i < kXCopies; ++i) {
    const int32_t piece = i * kThreads + threadIdx.x;
    int32_t at = first + min(piece / 8, count - 1);  // tokens past the end are never stored
    if constexpr (kKind == LinearKind::kGateUp) at = a.lists.pair_token[at];
    x_from[i] = a.x + int64_t{at} * columns + piece % 8 * 8;
  }
  const auto fetch = [&](int32_t chunk) {
    if (chunk < num_chunks) {
      Stage<kFp8, kTokens>& stage = stages[chunk % kStages];
#pragma unroll
      for (int32_t i = 0; i < kWeightCopies; ++i) {
        const int32_t piece = i * kThreads + threadIdx.x;
        copy_async(stage.weights + piece / kVectors * Stage<kFp8, kTokens>::kWeightStride +
                       piece % kVectors * 16,
                   weight_from[i] + int64_t{chunk} * 64 * kBytes);
      }
#pragma unroll
      for (int32_t i = 0; i < kXCopies; ++i) {
        const int32_t piece = i * kThreads + threadIdx.x;
        copy_async(stage.x + piece / 8 * kXStride + piece % 8 * 16, x_from[i] + chunk * 64);
      }
    }
    commit();
  };

  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int32_t tile_row = blockIdx.x * kRows + warp * 16 + g;
  const float *scales_low = nullptr, *scales_high = nullptr;
  if constexpr (kFp8) {
    const float* scales = a.weights.scales + int64_t{matrix} * divide_up(rows, 64) * num_chunks;
    scales_low = scales + min(weight_row<kKind>(tile_row, rows), rows - 1) / 64 * num_chunks;
    scales_high = scales + min(weight_row<kKind>(tile_row + 8, rows), rows - 1) / 64 * num_chunks;
  }
  for (int32_t i = 0; i < kStages - 1; ++i) fetch(i);
  float sums[kTokens / 8][4] = {};
  for (int32_t chunk = 0; chunk < num_chunks; ++chunk) {
    wait<kStages - 2>();
    __syncthreads();
    fetch(chunk + kStages - 1);
    const Stage<kFp8, kTokens>& stage = stages[chunk % kStages];
    uint32_t weights[4][4];  // of four steps of 16 columns
    const auto* low = reinterpret_cast<const uint4*>(
        stage.weights + (warp * 16 + g) * Stage<kFp8, kTokens>::kWeightStride + t * 16 * kBytes);
    const auto* high = reinterpret_cast<const uint4*>(
        stage.weights + (warp * 16 + g + 8) * Stage<kFp8, kTokens>::kWeightStride +
        t * 16 * kBytes);
    if constexpr (kFp8) {
      const uint4 a_low = *low, a_high = *high;
      const uint32_t four_low[] = {a_low.x, a_low.y, a_low.z, a_low.w};
      const uint32_t four_high[] = {a_high.x, a_high.y, a_high.z, a_high.w};
#pragma unroll
      for (int32_t step = 0; step < 4; ++step) {
        weights[step][0] = widen_low(four_low[step]);
        weights[step][1] = widen_low(four_high[step]);
        weights[step][2] = widen_high(four_low[step]);
        weights[step][3] = widen_high(four_high[step]);
      }
    } else {
#pragma unroll
      for (int32_t half = 0; half < 2; ++half) {
        const uint4 a_low = low[half], a_high = high[half];
        weights[2 * half][0] = a_low.x, weights[2 * half][2] = a_low.y;
        weights[2 * half + 1][0] = a_low.z, weights[2 * half + 1][2] = a_low.w;
        weights[2 * half][1] = a_high.x, weights[2 * half][3] = a_high.y;
        weights[2 * half + 1][1] = a_high.z, weights[2 * half + 1][3] = a_high.w;
      }
    }
    const float scale_low = kFp8 ? __ldg(scales_low + chunk) : 1.0f;
    const float scale_high = kFp8 ? __ldg(scales_high + chunk) : 1.0f;
#pragma unroll
    for (int32_t n = 0; n < kTokens / 8; ++n) {
      const auto* x = reinterpret_cast<const uint4*>(stage.x + (n * 8 + g) * kXStride + t * 32);
      const uint4 b0 = x[0], b1 = x[1];
      float part[4] = {};
      mma<kFp8>(part, weights[0][0], weights[0][1], weights[0][2], weights[0][3], b0.x, b0.y);
      mma<kFp8>(part, weights[1][0], weights[1][1], weights[1][2], weights[1][3], b0.z, b0.w);
      mma<kFp8>(part, weights[2][0], weights[2][1], weights[2][2], weights[2][3], b1.x, b1.y);
      mma<kFp8>(part, weights[3][0], weights[3][1], weights[3][2], weights[3][3], b1.z, b1.w);
      sums[n][0] += scale_low * part[0];
      sums[n][1] += scale_low * part[1];
      sums[n][2] += scale_high * part[2];
      sums[n][3] += scale_high * part[3];
    }
  }
#pragma unroll
  for (int32_t n = 0; n < kTokens / 8; ++n) {
    const int32_t token = n * 8 + 2 * t;
    if (token < count) put<kKind>(a, first + token, tile_row, sums[n][0], sums[n][2]);
    if (token + 1 < count) put<kKind>(a, first + token + 1, tile_row, sums[n][1], sums[n][3]);
  }
}

template <LinearKind kKind, bool kFp8, int32_t kTokens>
void launch(const LinearArgs& a, const Queue& queue) {
  constexpr bool kGrouped = kKind == LinearKind::kGateUp || kKind == LinearKind::kDown;
  constexpr size_t kSharedBytes = kStages * sizeof(Stage<kFp8, kTokens>);
  const auto kernel = tile_kernel<kKind, kFp8, kTokens>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(kSharedBytes));
  const dim3 grid(divide_up(a.weights.rows, kRows),
                  kGrouped ? a.max_tiles : divide_up(a.tokens, kTokens));
  enqueue(kernel, grid, kThreads, kSharedBytes, queue, a);
}

template <LinearKind kKind, bool kFp8>
void launch_width(const LinearArgs& a, const Queue& queue) {
  if constexpr (kKind == LinearKind::kGateUp || kKind == LinearKind::kDown) {
    if (a.tile_tokens == kSmallTileTokens) return launch<kKind, kFp8, kSmallTileTokens>(a, queue);
  }
  launch<kKind, kFp8, kTileTokens>(a, queue);
}

template <LinearKind kKind>
void launch_kind(const LinearArgs& a, const Queue& queue) {
  a.weights.fp8 ? launch_width<kKind, true>(a, queue) : launch_width<kKind, false>(a, queue);
}

}  // namespace

void launch_linear_tile(const LinearArgs& args, const Queue& queue) {
  switch (args.kind) {
    case LinearKind::kStore:
      return launch_kind<LinearKind::kStore>(args, queue);
    case LinearKind::kAdd:
      return launch_kind<LinearKind::kAdd>(args, queue);
    case LinearKind::kGateUp:
      return launch_kind<LinearKind::kGateUp>(args, queue);
    case LinearKind::kDown:
      return launch_kind<LinearKind::kDown>(args, queue);
  }
}

}  // namespace m2::cuda
