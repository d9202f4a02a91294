// The tile form: a block's rows of weights by 64 tokens, chunks of 64 columns through a ring of
// shared memory. A warp takes some tensor core tiles of rows by some of tokens; it widens its
// weights once a chunk, and leaves out tiles without tokens.
#include <type_traits>

#include "backend/cuda/portable/async_copy.cuh"
#include "backend/cuda/portable/cluster.cuh"
#include "backend/cuda/portable/linear.cuh"

namespace m2::cuda {
namespace {

constexpr int32_t kMostStages = 4;
constexpr int32_t kMostSplits = 8;         // blocks of a cluster
constexpr int32_t kLeastSplitTokens = 32;  // fewer: the stream form is faster

// Warps of a block by rows and by tokens, and a warp's tiles of 16 rows and of 8 tokens. What a
// multiprocessor reads from shared memory for a product falls with the size of a warp's part.
template <int32_t kRowWarpsOf, int32_t kTokenWarpsOf, int32_t kRowTilesOf>
struct Form {
  static constexpr int32_t kRowWarps = kRowWarpsOf, kTokenWarps = kTokenWarpsOf;
  static constexpr int32_t kRowTiles = kRowTilesOf;
  static constexpr int32_t kColumnTiles = kTileTokens / 8 / kTokenWarps;
  static constexpr int32_t kThreads = kRowWarps * kTokenWarps * 32;
  static constexpr int32_t kRows = kRowWarps * kRowTiles * 16;
  static constexpr int32_t kBlocks = kRows == 128 ? 2 : 1;  // of a multiprocessor
};
using ManyTokens = Form<2, 2, 4>;  // 128 rows, and two blocks that do not wait for each other
using FewRows = Form<4, 2, 2>;     // the same with more warps, for few blocks
using FewTokens = Form<8, 1, 2>;   // 256 rows; no warp is idle when a tile has few

// Rows of 64 columns without padding; where a vector of 16 bytes lies in its row depends on the
// row, so that what a warp reads at once lies in different banks.
template <typename F, bool kFp8>
struct Stage {
  static constexpr int32_t kRowBytes = kFp8 ? 64 : 128, kXRowBytes = 128;
  unsigned char weights[F::kRows * kRowBytes];
  unsigned char x[kTileTokens * kXRowBytes];
};
// Of a row of 128 bytes the halves change places in odd rows; of one of 64, in every other pair.
template <int32_t kRowBytes>
__device__ inline int32_t place(int32_t row, int32_t vector) {
  return row * kRowBytes +
         (kRowBytes == 128 ? vector ^ (row & 1) << 2 : vector ^ (row >> 1 & 1) << 1) * 16;
}

__device__ inline void load_words(uint32_t (&to)[2], const void* from) {
  const uint2 words = *static_cast<const uint2*>(from);
  to[0] = words.x, to[1] = words.y;
}
__device__ inline void load_words(uint32_t (&to)[4], const void* from) {
  const uint4 words = *static_cast<const uint4*>(from);
  to[0] = words.x, to[1] = words.y, to[2] = words.z, to[3] = words.w;
}

// Whether blocks of the same rows and of other tokens follow each other: the rows of a dense
// product then come from memory once. With very many tokens those would come several times instead.
__host__ __device__ inline bool rows_are_shared(const LinearArgs& a) {
  return a.kind != LinearKind::kGateUp && a.kind != LinearKind::kDown && a.tokens <= 512;
}

// With kSplit the blocks of a cluster share the columns.
template <LinearKind kKind, bool kFp8, typename F, bool kSplit>
__global__ void __launch_bounds__(F::kThreads, F::kBlocks) tile_kernel(LinearArgs a, Mark mark) {
  constexpr bool kGrouped = kKind == LinearKind::kGateUp || kKind == LinearKind::kDown;
  constexpr int32_t kBytes = kFp8 ? 1 : 2, kVectors = kFp8 ? 4 : 8;  // 16 bytes each, a row's chunk
  using S = Stage<F, kFp8>;
  // A stage is free once its second half is in registers: what is copied at once goes there.
  constexpr int32_t kStages = ring_stages(kMostStages, kAsyncCopies);
  constexpr int32_t kAhead = kAsyncCopies ? kStages - 1 : kStages;
  extern __shared__ __align__(16) unsigned char memory[];
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
  // The chunks of this block.
  const int32_t rank = kSplit ? static_cast<int32_t>(blockIdx.z) : 0;
  const int32_t begin = kSplit ? rank * num_chunks / static_cast<int32_t>(gridDim.z) : 0;
  const int32_t end =
      kSplit ? (rank + 1) * num_chunks / static_cast<int32_t>(gridDim.z) : num_chunks;
  const auto fetch_weights = [&](int32_t chunk) {
    if (chunk >= end) return;
    S& stage = stages[chunk % kStages];
#pragma unroll
    for (int32_t i = 0; i < kWeightCopies; ++i) {
      const int32_t piece = i * F::kThreads + threadIdx.x;
      copy_async(stage.weights + place<S::kRowBytes>(piece / kVectors, piece % kVectors),
                 weight_from[i] + int64_t{chunk} * 64 * kBytes);
    }
  };
  const auto fetch_x = [&](int32_t chunk) {
    if (chunk < end) {
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
  const int32_t own_row = warp % F::kRowWarps * F::kRowTiles * 16 + g;  // within the block's
  const int32_t own_token = warp / F::kRowWarps * F::kColumnTiles * 8;
  const int32_t tile_row = row_block * F::kRows + own_row;
  // A warp's rows lie within one row of scales, or its gate rows and its up rows do.
  const float *scales_low = nullptr, *scales_high = nullptr;
  if constexpr (kFp8) {
    const float* scales = a.weights.scales + int64_t{matrix} * divide_up(rows, 64) * num_chunks;
    scales_low = scales + min(weight_row<kKind>(tile_row, rows), rows - 1) / 64 * num_chunks;
    scales_high = scales + min(weight_row<kKind>(tile_row + 8, rows), rows - 1) / 64 * num_chunks;
  }
  for (int32_t i = 0; i < kAhead; ++i) fetch_weights(begin + i);
  if constexpr (!kGrouped) {
    wait_for_previous();
    start_next(mark);
  }
  for (int32_t i = 0; i < kAhead; ++i) fetch_x(begin + i);

  // All chunks for the first kLive of the warp's tiles of tokens. A chunk is worked on in halves of
  // 32 columns, a lane's being the 8 from 8 t on; the next half is on its way to the registers
  // meanwhile.
  const auto multiply = [&]<int32_t kLive>(std::integral_constant<int32_t, kLive>) {
    constexpr int32_t kRowTiles = F::kRowTiles, kWords = 2 * kBytes;
    uint32_t low[2][kRowTiles][kWords], high[2][kRowTiles][kWords], x[2][kLive][4];
    const auto load = [&](int32_t chunk, int32_t half) {
      const S& stage = stages[chunk % kStages];
#pragma unroll
      for (int32_t m = 0; m < kRowTiles; ++m) {
        const int32_t row = own_row + m * 16;
        const int32_t vector = kFp8 ? 2 * half + t / 2 : 4 * half + t,
                      within = kFp8 ? t % 2 * 8 : 0;
        load_words(low[half][m], stage.weights + place<S::kRowBytes>(row, vector) + within);
        load_words(high[half][m], stage.weights + place<S::kRowBytes>(row + 8, vector) + within);
      }
#pragma unroll
      for (int32_t n = 0; n < kLive; ++n) {
        load_words(x[half][n], stage.x + place<S::kXRowBytes>(own_token + n * 8 + g, 4 * half + t));
      }
    };
    float sums[kRowTiles][kLive][4] = {}, part[kRowTiles][kLive][4];
    const auto multiply_half = [&](int32_t half) {
#pragma unroll
      for (int32_t step = 0; step < 2; ++step) {
        uint32_t w[kRowTiles][4];
#pragma unroll
        for (int32_t m = 0; m < kRowTiles; ++m) {
          if constexpr (kFp8) {
            w[m][0] = widen_low(low[half][m][step]), w[m][1] = widen_low(high[half][m][step]);
            w[m][2] = widen_high(low[half][m][step]), w[m][3] = widen_high(high[half][m][step]);
          } else {
            w[m][0] = low[half][m][2 * step], w[m][1] = high[half][m][2 * step];
            w[m][2] = low[half][m][2 * step + 1], w[m][3] = high[half][m][2 * step + 1];
          }
        }
#pragma unroll
        for (int32_t n = 0; n < kLive; ++n) {
#pragma unroll
          for (int32_t m = 0; m < kRowTiles; ++m) {
            mma<kFp8>(kFp8 ? part[m][n] : sums[m][n], w[m][0], w[m][1], w[m][2], w[m][3],
                      x[half][n][2 * step], x[half][n][2 * step + 1]);
          }
        }
      }
    };
    float next_low = kFp8 ? __ldg(scales_low + begin) : 1.0f;
    float next_high = kFp8 ? __ldg(scales_high + begin) : 1.0f;
    wait_copies<kStages - 2>();
    __syncthreads();
    load(begin, 0);
    for (int32_t chunk = begin; chunk < end; ++chunk) {
      [[maybe_unused]] const float scale_low = next_low, scale_high = next_high;
      if constexpr (kFp8) {
        const int32_t next = min(chunk + 1, end - 1);
        next_low = __ldg(scales_low + next), next_high = __ldg(scales_high + next);
#pragma unroll
        for (auto& row : part) {
#pragma unroll
          for (auto& tile : row) tile[0] = tile[1] = tile[2] = tile[3] = 0;
        }
      }
      load(chunk, 1);
      multiply_half(0);
      wait_copies<kStages - 3>();
      __syncthreads();
      load(chunk + 1, 0);  // after the last chunk: what an earlier one left
      fetch_weights(chunk + kAhead);
      fetch_x(chunk + kAhead);
      multiply_half(1);
      if constexpr (kFp8) {
#pragma unroll
        for (int32_t m = 0; m < kRowTiles; ++m) {
#pragma unroll
          for (int32_t n = 0; n < kLive; ++n) {
            sums[m][n][0] += scale_low * part[m][n][0];
            sums[m][n][1] += scale_low * part[m][n][1];
            sums[m][n][2] += scale_high * part[m][n][2];
            sums[m][n][3] += scale_high * part[m][n][3];
          }
        }
      }
    }
    if constexpr (kSplit) {
      // The blocks of a cluster add their parts up, each some tiles, in order.
      constexpr int32_t kWarps = F::kThreads / 32, kSums = kRowTiles * kLive * 4;
      auto* own = reinterpret_cast<float*>(memory);
      __syncthreads();
#pragma unroll
      for (int32_t i = 0; i < kSums; ++i) {
        own[(warp * kSums + i) * 32 + lane] = sums[i / 4 / kLive][i / 4 % kLive][i % 4];
      }
      sync_cluster();
      const auto parts = static_cast<int32_t>(gridDim.z);
      for (int32_t i = rank * kWarps + warp; i < kSums / 2 * kWarps; i += parts * kWarps) {
        const int32_t of = i / (kSums / 2), odd = i % 2, tile = i / 2 % (kSums / 4);
        const float* place = own + (of * kSums + tile * 4 + odd) * 32 + lane;
        float low_sum = 0, high_sum = 0;
        for (int32_t part = 0; part < parts; ++part) {
          low_sum += read_cluster(place, part);
          high_sum += read_cluster(place + 2 * 32, part);
        }
        const int32_t token =
            (of / F::kRowWarps * F::kColumnTiles + tile % kLive) * 8 + 2 * t + odd;
        const int32_t row_tile = of % F::kRowWarps * kRowTiles + tile / kLive;
        const int32_t row = row_block * F::kRows + row_tile * 16 + g;
        if (token < count) put<kKind>(a, first + token, row, low_sum, high_sum);
      }
      sync_cluster();  // nobody leaves while others read
    } else {
#pragma unroll
      for (int32_t m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int32_t n = 0; n < kLive; ++n) {
          const int32_t token = own_token + n * 8 + 2 * t, row = tile_row + m * 16;
          const auto& sum = sums[m][n];
          if (token < count) put<kKind>(a, first + token, row, sum[0], sum[2]);
          if (token + 1 < count) put<kKind>(a, first + token + 1, row, sum[1], sum[3]);
        }
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

template <LinearKind kKind, bool kFp8, typename F, bool kSplit = false>
void launch(const LinearArgs& a, const Queue& queue, int32_t splits = 1) {
  constexpr bool kGrouped = kKind == LinearKind::kGateUp || kKind == LinearKind::kDown;
  const size_t shared_bytes = ring_stages(kMostStages, queue.async_copies) * sizeof(Stage<F, kFp8>);
  const auto kernel = tile_kernel<kKind, kFp8, F, kSplit>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(shared_bytes));
  const int32_t row_blocks = divide_up(a.weights.rows, F::kRows);
  const int32_t token_blocks = kGrouped ? a.max_tiles : divide_up(a.tokens, kTileTokens);
  const bool tokens_first = rows_are_shared(a);
  const dim3 grid(tokens_first ? token_blocks : row_blocks,
                  tokens_first ? row_blocks : token_blocks, splits);
  enqueue(kernel, grid, F::kThreads, shared_bytes, queue, a, splits);
}

int32_t clusters_at_once(int32_t splits) {
  constexpr int32_t kSharedBytes = kMostStages * sizeof(Stage<ManyTokens, true>);
  const auto kernel = tile_kernel<LinearKind::kStore, true, ManyTokens, true>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes);
  cudaLaunchAttribute size;
  size.id = cudaLaunchAttributeClusterDimension;
  size.val.clusterDim.x = size.val.clusterDim.y = 1;
  size.val.clusterDim.z = splits;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(1, 1, splits);
  config.blockDim = ManyTokens::kThreads;
  config.dynamicSmemBytes = kSharedBytes;
  config.attrs = &size;
  config.numAttrs = 1;
  int count = 0;
  if (cudaOccupancyMaxActiveClusters(&count, kernel, &config) == cudaSuccess) return count;
  (void)cudaGetLastError();  // a refusal is an answer: no later launch reports it
  return 0;
}

template <LinearKind kKind, bool kFp8>
void launch_form(const LinearArgs& a, const Queue& queue) {
  if constexpr (kKind == LinearKind::kGateUp || kKind == LinearKind::kDown) {
    // Experts with less than two tiles of tokens on average.
    if (kFp8 && a.max_tiles < 3 * a.max_active) return launch<kKind, kFp8, FewTokens>(a, queue);
  } else {
    if constexpr (kFp8) {
      const int32_t splits = linear_splits(a, queue);
      if (splits > 1) return launch<kKind, kFp8, ManyTokens, true>(a, queue, splits);
    }
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

int32_t linear_splits(const LinearArgs& a, const Queue& queue) {
  if (!queue.overlap || !a.weights.fp8 || a.tokens <= kLeastSplitTokens ||
      a.kind == LinearKind::kGateUp || a.kind == LinearKind::kDown) {
    return 1;
  }
  const int32_t blocks =
      divide_up(a.weights.rows, ManyTokens::kRows) * divide_up(a.tokens, kTileTokens);
  const int32_t most = min(kMostSplits, ManyTokens::kBlocks * a.multiprocessors / blocks);
  for (int32_t splits = most; splits > 1; --splits) {
    if (a.weights.columns / 64 < 4 * splits) continue;
    // All at once: clusters of some sizes leave multiprocessors out.
    if (clusters_at_once(splits) >= blocks) return splits;
  }
  return 1;
}

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
