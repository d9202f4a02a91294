// The tile form: a block's rows of weights by 64 tokens, chunks of 64 columns through a ring of
// shared memory. A warp takes some tensor core tiles of rows by some of tokens; it widens its
// weights once a chunk, and leaves out tiles without tokens.
#include <type_traits>

#include "backend/cuda/portable/async_copy.cuh"
#include "backend/cuda/portable/linear.cuh"
#include "backend/cuda/portable/tile_product.cuh"

namespace m2::cuda {
namespace {

constexpr int32_t kMostStages = 4;

// Warps of a block by rows and by tokens, and a warp's tiles of 16 rows and of 8 tokens. What a
// multiprocessor reads from shared memory for a product falls with the size of a warp's part.
template <int32_t kRowWarpsOf, int32_t kTokenWarpsOf, int32_t kRowTilesOf>
struct Form {
  static constexpr int32_t kRowWarps = kRowWarpsOf, kTokenWarps = kTokenWarpsOf;
  static constexpr int32_t kRowTiles = kRowTilesOf;
  static constexpr int32_t kColumnTiles = kTileTokens / 8 / kTokenWarps;
  static constexpr int32_t kThreads = kRowWarps * kTokenWarps * 32;
  static constexpr int32_t kRows = kRowWarps * kRowTiles * 16;
  // Blocks of a multiprocessor.
  static constexpr int32_t blocks(bool fp8) {
    return kRows > 128 ? 1 : kThreads == 128 && fp8 ? 3 : 2;
  }
};
using ManyTokens = Form<2, 2, 4>;  // 128 rows, and two blocks that do not wait for each other
using FewRows = Form<4, 2, 2>;     // the same with more warps, for few blocks
using FewTokens = Form<8, 1, 2>;   // 256 rows; no warp is idle when a tile has few

// Where a vector lies in its row: place() of tile_product.cuh.
template <typename F, bool kFp8>
struct Stage {
  static constexpr int32_t kRowBytes = Chunk<kFp8>::kRowBytes;
  static constexpr int32_t kXRowBytes = Chunk<kFp8>::kTokenBytes;
  unsigned char weights[F::kRows * kRowBytes];
  unsigned char x[kTileTokens * kXRowBytes];
};
// Whether blocks of the same rows and of other tokens follow each other: the rows of a dense
// product then come from memory once. With very many tokens those would come several times instead.
__host__ __device__ inline bool rows_are_shared(const LinearArgs& a) {
  return a.kind != LinearKind::kGateUp && a.kind != LinearKind::kDown && a.tokens <= 512;
}

template <LinearKind kKind, bool kFp8, typename F>
__global__ void __launch_bounds__(F::kThreads, F::blocks(kFp8))
    tile_kernel(LinearArgs a, Mark mark) {
  constexpr bool kGrouped = kKind == LinearKind::kGateUp || kKind == LinearKind::kDown;
  constexpr int32_t kBytes = Chunk<kFp8>::kBytes;
  constexpr int32_t kVectors = Chunk<kFp8>::kRowBytes / 16;  // of a row's chunk
  using S = Stage<F, kFp8>;
  constexpr int32_t kStages = ring_stages(kMostStages, kAsyncCopies), kAhead = kStages - 1;
  M2_DYNAMIC_SHARED(unsigned char, 16, memory);
  if constexpr (kGrouped) {
    wait_for_previous();
    start_next(mark);
  }
  auto* stages = reinterpret_cast<S*>(memory);
  const bool tokens_first = rows_are_shared(a);
  const int32_t row_block = tokens_first ? blockIdx.y : blockIdx.x;
  const int32_t token_block = tokens_first ? blockIdx.x : blockIdx.y;
  int32_t matrix = 0, first = token_block * kTileTokens, count = min(kTileTokens, a.tokens - first);
  if constexpr (kGrouped) {
    if (token_block >= *a.lists.num_tiles) return;
    const Work work = a.lists.tiles[token_block];
    matrix = work.matrix, first = work.first, count = work.count;
  }
  const int32_t rows = a.weights.rows, columns = a.weights.columns, num_chunks = columns / 64;
  const char* data =
      static_cast<const char*>(a.weights.data) + int64_t{matrix} * rows * columns * kBytes;

  // What this thread copies of every chunk: the same places of the weights and of x.
  constexpr int32_t kWeightCopies = F::kRows * kVectors / F::kThreads;
  constexpr int32_t kXCopies = kTileTokens * 8 / F::kThreads;
  const char* weight_from[kWeightCopies];
  const uint16_t* x_from[kXCopies];
#pragma unroll
  for (int32_t i = 0; i < kWeightCopies; ++i) {
    const int32_t piece = i * F::kThreads + threadIdx.x;
    const int32_t row =
        min(weight_row<kKind>(row_block * F::kRows + piece / kVectors, rows), rows - 1);
    weight_from[i] = data + int64_t{row} * columns * kBytes + piece % kVectors * 16;
  }
#pragma unroll
  for (int32_t i = 0; i < kXCopies; ++i) {
    const int32_t piece = i * F::kThreads + threadIdx.x;
    int32_t at = first + min(piece / 8, count - 1);
    if constexpr (kKind == LinearKind::kGateUp) at = a.lists.pair_token[at];
    x_from[i] = a.x + int64_t{at} * columns + piece % 8 * 8;
  }
  const auto fetch_weights = [&](int32_t chunk) {
    if (chunk >= num_chunks) return;
    S& stage = stages[chunk % kStages];
#pragma unroll
    for (int32_t i = 0; i < kWeightCopies; ++i) {
      const int32_t piece = i * F::kThreads + threadIdx.x;
      copy_async(stage.weights + place<S::kRowBytes>(piece / kVectors, piece % kVectors),
                 weight_from[i] + int64_t{chunk} * 64 * kBytes);
    }
  };
  const auto fetch_x = [&](int32_t chunk) {
    if (chunk < num_chunks) {
      S& stage = stages[chunk % kStages];
#pragma unroll
      for (int32_t i = 0; i < kXCopies; ++i) {
        const int32_t piece = i * F::kThreads + threadIdx.x;
        if (piece / 8 >= count) break;  // its sums are never stored
        copy_async(stage.x + place<S::kXRowBytes>(piece / 8, piece % 8), x_from[i] + chunk * 64);
      }
    }
    commit_copies();
  };

  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int32_t own_row = warp % F::kRowWarps * F::kRowTiles * 16;  // within the block's
  const int32_t own_token = warp / F::kRowWarps * F::kColumnTiles * 8;
  const int32_t tile_row = row_block * F::kRows + own_row + g;
  // A warp's rows lie within one row of scales, or its gate rows and its up rows do.
  const float *scales_low = nullptr, *scales_high = nullptr;
  if constexpr (kFp8) {
    const float* scales = a.weights.scales + int64_t{matrix} * divide_up(rows, 64) * num_chunks;
    scales_low = scales + min(weight_row<kKind>(tile_row, rows), rows - 1) / 64 * num_chunks;
    scales_high = scales + min(weight_row<kKind>(tile_row + 8, rows), rows - 1) / 64 * num_chunks;
  }
  for (int32_t i = 0; i < kAhead; ++i) fetch_weights(i);
  if constexpr (!kGrouped) {
    wait_for_previous();
    start_next(mark);
  }
  for (int32_t i = 0; i < kAhead; ++i) fetch_x(i);

  const auto stage_of = [&](int32_t chunk) -> const S& { return stages[chunk % kStages]; };
  const auto scale_of = [&](const float* scales, int32_t chunk) {
    return kFp8 ? fmaxf(__ldg(scales + chunk), kLeastScale) : 1.0f;
  };
  // All chunks for the first kLive of the warp's tiles of tokens.
  const auto multiply = [&]<int32_t kLive>(std::integral_constant<int32_t, kLive>) {
    constexpr int32_t kRowTiles = F::kRowTiles;
    TileProduct<kFp8, kRowTiles, kLive> product(own_row, own_token);
    [[maybe_unused]] float low_scale = 1.0f, high_scale = 1.0f;  // of the sums
    float next_low = scale_of(scales_low, 0), next_high = scale_of(scales_high, 0);
    wait_copies<kStages - 2>();
    __syncthreads();
    product.start(stage_of(0).weights, stage_of(0).x);
    for (int32_t chunk = 0; chunk < num_chunks; ++chunk) {
      if constexpr (kFp8) {
        product.scale(low_scale / next_low, high_scale / next_high);
        low_scale = next_low, high_scale = next_high;
        const int32_t next = min(chunk + 1, num_chunks - 1);
        next_low = scale_of(scales_low, next), next_high = scale_of(scales_high, next);
      }
      const S &now = stage_of(chunk), &next = stage_of(chunk + 1);
      product.template multiply<0>(now.x, now.weights, now.x);
      wait_copies<kStages - 3>();
      __syncthreads();
      fetch_weights(chunk + kAhead);
      fetch_x(chunk + kAhead);
      if constexpr (!kAsyncCopies) __syncthreads();  // the next chunk's have only now been made
      // After the last chunk: what an earlier one left.
      product.template multiply<1>(now.x, next.weights, next.x);
    }
    if constexpr (kFp8) product.scale(low_scale, high_scale);
#pragma unroll
    for (int32_t m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int32_t n = 0; n < kLive; ++n) {
        const int32_t token = own_token + n * 8 + 2 * t, row = tile_row + m * 16;
        const auto& sum = product.sums[m][n];
        if (token < count) put<kKind>(a, first + token, row, sum[0], sum[2]);
        if (token + 1 < count) put<kKind>(a, first + token + 1, row, sum[1], sum[3]);
      }
    }
  };
  if constexpr (F::kTokenWarps == 1) {
    if (count <= 16) {
      multiply(std::integral_constant<int32_t, 2>());
    } else if (count <= 32) {
      multiply(std::integral_constant<int32_t, 4>());
    } else if (count <= 48) {
      multiply(std::integral_constant<int32_t, 6>());
    } else {
      multiply(std::integral_constant<int32_t, 8>());
    }
  } else {
    multiply(std::integral_constant<int32_t, F::kColumnTiles>());
  }
}

template <LinearKind kKind, bool kFp8, typename F>
void launch(const LinearArgs& a, const Queue& queue) {
  constexpr bool kGrouped = kKind == LinearKind::kGateUp || kKind == LinearKind::kDown;
  const size_t shared_bytes = ring_stages(kMostStages, queue.async_copies) * sizeof(Stage<F, kFp8>);
  const auto kernel = tile_kernel<kKind, kFp8, F>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(shared_bytes));
  const int32_t row_blocks = divide_up(a.weights.rows, F::kRows);
  const int32_t token_blocks = kGrouped ? a.max_tiles : divide_up(a.tokens, kTileTokens);
  const bool tokens_first = rows_are_shared(a);
  const dim3 grid(tokens_first ? token_blocks : row_blocks,
                  tokens_first ? row_blocks : token_blocks);
  enqueue(kernel, grid, F::kThreads, shared_bytes, queue, a);
}

template <LinearKind kKind, bool kFp8>
void launch_form(const LinearArgs& a, const Queue& queue) {
  if constexpr (kKind == LinearKind::kGateUp || kKind == LinearKind::kDown) {
    // Experts with less than two tiles of tokens on average.
    if (kFp8 && a.max_tiles < 3 * a.max_active) return launch<kKind, kFp8, FewTokens>(a, queue);
  } else {
    const int32_t blocks = divide_up(a.weights.rows, 128) * divide_up(a.tokens, kTileTokens);
    if (blocks < 2 * a.multiprocessors) return launch<kKind, kFp8, FewRows>(a, queue);
  }
  launch<kKind, kFp8, ManyTokens>(a, queue);
}

template <LinearKind kKind>
void launch_kind(const LinearArgs& a, const Queue& queue) {
  a.weights.fp8 ? launch_form<kKind, true>(a, queue) : launch_form<kKind, false>(a, queue);
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
