// Experts with few tokens each, on compute capability 9.0 and later: every weight comes from memory
// once, as fast as that delivers. A block goes through consecutive tiles of weights, expert by
// expert; bulk copies bring them into a ring in shared memory, and eight warps share the columns. A
// warp's part of an expert's inputs stays in registers for all of the expert's tiles:
// that is what limits the pairs of a tile list's entry.
//
// Half of a tile's rows are from the first half of the matrix, half from the second: gate and up.
// Memory delivers two such parts faster than one part twice as long, so kDown does the same.
#include "backend/cuda/portable/bulk_copy.cuh"
#include "backend/cuda/portable/linear.cuh"

namespace m2::cuda {
namespace {

constexpr int32_t kWarps = 8, kThreads = kWarps * 32;
// Enough under way to keep memory busy; more only delays the small reads of the other kernels.
constexpr int32_t kStages = 3;
constexpr int32_t kMostColumnTiles = kBulkTileTokens / 8;
[[maybe_unused]] constexpr int32_t kFetcher = kThreads - 32;  // of a warp that sums least

// A warp takes every eighth chunk of 64 columns: up to kChunks of them.
constexpr int32_t most_columns(int32_t chunks_of_a_warp) { return chunks_of_a_warp * kWarps * 64; }

template <int32_t kChunksOfAWarp>
struct Form {
  static constexpr int32_t kChunks = kChunksOfAWarp;
  // Two products that do not wait for each other at a time: two chunks, or two tiles of rows.
  static constexpr int32_t kRowTiles = kChunks % 2 == 0 ? 1 : 2;
  static constexpr int32_t kRows = 16 * kRowTiles;  // of a tile
  static constexpr int32_t kSums = 4 * kRowTiles * kMostColumnTiles;
};

struct BulkArgs {
  LinearArgs linear;
  int32_t most_works;  // of a block
  bool all_works;      // so many are all of the step's, and every block has them
};

#if __CUDA_ARCH__ >= 900

// Consecutive tiles of a block: item = place in the tile list * tiles of a matrix + tile.
template <LinearKind kKind, typename F>
struct Ring {
  const LinearArgs& a;
  const Work* works;  // the block's
  unsigned char* memory;
  uint64_t* full;
  int32_t stage_bytes, tiles;
  int32_t first_work, end;
  int32_t item, fetched;  // the next to be worked on, to be fetched
  int32_t stage = 0, round = 0;
  uint64_t policy = passing_through();

  __device__ const unsigned char* wait() {
    wait_barrier(&full[stage], round & 1);
    return memory + stage * stage_bytes;
  }
  __device__ void next() {
    ++item;
    if (++stage == kStages) stage = 0, ++round;
  }
  // By one thread, when no thread works on what the stage holds.
  __device__ void fetch(int32_t to_stage) {
    if (fetched >= end) return;
    const int32_t rows = a.weights.rows, columns = a.weights.columns, num_chunks = columns / 64;
    const uint32_t tile_bytes = F::kRows * columns, scale_bytes = num_chunks * sizeof(float);
    const int32_t matrix = works[fetched / tiles - first_work].matrix, tile = fetched % tiles;
    const char* data = static_cast<const char*>(a.weights.data) + int64_t{matrix} * rows * columns;
    const float* scales = a.weights.scales + int64_t{matrix} * divide_up(rows, 64) * num_chunks;
    unsigned char* to = memory + to_stage * stage_bytes;
    uint64_t* barrier = &full[to_stage];
    expect_bytes(barrier, tile_bytes + 2 * scale_bytes);
#pragma unroll
    for (int32_t half = 0; half < 2; ++half) {
      const int32_t row = half * (rows / 2) + tile * (F::kRows / 2);
      copy_bulk(to + half * (tile_bytes / 2), data + int64_t{row} * columns, tile_bytes / 2,
                barrier, policy);
      copy_bulk(to + tile_bytes + half * scale_bytes, scales + row / 64 * num_chunks, scale_bytes,
                barrier, policy);
    }
    ++fetched;
  }
};

struct Place {
  float* sums;  // [2][warps][kSums][32], used in turn: one barrier a tile is enough
  int32_t parity = 0;
};

// Tiles [begin, end) of one expert and up to 8 * kColumnTiles of its pairs.
template <LinearKind kKind, typename F, int32_t kColumnTiles>
__device__ void multiply(const LinearArgs& a, const Work& work, int32_t begin, int32_t end,
                         Ring<kKind, F>& ring, Place& place) {
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int32_t columns = a.weights.columns, num_chunks = columns / 64;
  uint4 x[kColumnTiles][F::kChunks][2];
#pragma unroll
  for (int32_t n = 0; n < kColumnTiles; ++n) {
    const int32_t pair = n * 8 + g;
    int32_t at = work.first + min(pair, work.count - 1);
    if constexpr (kKind == LinearKind::kGateUp) at = a.lists.pair_token[at];
#pragma unroll
    for (int32_t c = 0; c < F::kChunks; ++c) {
      const int32_t chunk = c * kWarps + warp;
      const auto* from =
          reinterpret_cast<const uint4*>(a.x + int64_t{at} * columns + chunk * 64 + t * 16);
      const bool here = pair < work.count && chunk < num_chunks;
      x[n][c][0] = here ? __ldcg(from) : uint4{0, 0, 0, 0};
      x[n][c][1] = here ? __ldcg(from + 1) : uint4{0, 0, 0, 0};
    }
  }
  constexpr int32_t kSums = 4 * F::kRowTiles * kColumnTiles;
  for (int32_t tile = begin; tile < end; ++tile, ring.next()) {
    const unsigned char* stage = ring.wait();
    const unsigned char* weights = stage + g * columns + t * 16;
    const auto* scales = reinterpret_cast<const float*>(stage + F::kRows * columns);
    float sums[F::kRowTiles][kColumnTiles][4] = {};
#pragma unroll
    for (int32_t s = 0; s < F::kChunks * F::kRowTiles / 2; ++s) {
      float part[2][kColumnTiles][4] = {};
      uint32_t four_low[2][4], four_high[2][4];
      float scale_low[2], scale_high[2];
#pragma unroll
      for (int32_t u = 0; u < 2; ++u) {
        const int32_t c = F::kRowTiles == 1 ? 2 * s + u : s, r = F::kRowTiles == 1 ? 0 : u;
        // Past the last chunk x is zero.
        const int32_t chunk = min(c * kWarps + warp, num_chunks - 1);
        const unsigned char* from = weights + 8 * r * columns + chunk * 64;
        const uint4 low_row = *reinterpret_cast<const uint4*>(from);
        const uint4 high_row = *reinterpret_cast<const uint4*>(from + F::kRows / 2 * columns);
        four_low[u][0] = low_row.x, four_low[u][1] = low_row.y;
        four_low[u][2] = low_row.z, four_low[u][3] = low_row.w;
        four_high[u][0] = high_row.x, four_high[u][1] = high_row.y;
        four_high[u][2] = high_row.z, four_high[u][3] = high_row.w;
        scale_low[u] = scales[chunk];
        scale_high[u] = scales[num_chunks + chunk];
      }
#pragma unroll
      for (int32_t step = 0; step < 4; ++step) {
#pragma unroll
        for (int32_t u = 0; u < 2; ++u) {
          const int32_t c = F::kRowTiles == 1 ? 2 * s + u : s;
          const uint32_t a0 = widen_low(four_low[u][step]), a1 = widen_low(four_high[u][step]);
          const uint32_t a2 = widen_high(four_low[u][step]), a3 = widen_high(four_high[u][step]);
#pragma unroll
          for (int32_t n = 0; n < kColumnTiles; ++n) {
            const uint4 four = x[n][c][step / 2];
            mma<true>(part[u][n], a0, a1, a2, a3, step % 2 == 0 ? four.x : four.z,
                      step % 2 == 0 ? four.y : four.w);
          }
        }
      }
#pragma unroll
      for (int32_t u = 0; u < 2; ++u) {
        const int32_t r = F::kRowTiles == 1 ? 0 : u;
#pragma unroll
        for (int32_t n = 0; n < kColumnTiles; ++n) {
          sums[r][n][0] += scale_low[u] * part[u][n][0];
          sums[r][n][1] += scale_low[u] * part[u][n][1];
          sums[r][n][2] += scale_high[u] * part[u][n][2];
          sums[r][n][3] += scale_high[u] * part[u][n][3];
        }
      }
    }
    float* own = place.sums + place.parity * kWarps * F::kSums * 32;
    place.parity ^= 1;
#pragma unroll
    for (int32_t i = 0; i < kSums; ++i) {
      own[(warp * kSums + i) * 32 + lane] = sums[i / 4 / kColumnTiles][i / 4 % kColumnTiles][i % 4];
    }
    __syncthreads();
    if (threadIdx.x == kFetcher) ring.fetch(ring.stage);
      // Two sums a thread: the same token's of both rows.
#pragma unroll
    for (int32_t i = threadIdx.x; i < 16 * kSums; i += kWarps * 32) {
      const int32_t from = i % 32, odd = i / 32 % 2, n = i / 64 % kColumnTiles;
      const int32_t r = i / 64 / kColumnTiles, pair = n * 8 + from % 4 * 2 + odd;
      if (pair >= work.count) continue;
      float low = 0, high = 0;
#pragma unroll
      for (int32_t w = 0; w < kWarps; ++w) {
        const float* one = own + (w * kSums + (r * kColumnTiles + n) * 4 + odd) * 32 + from;
        low += one[0];
        high += one[2 * 32];
      }
      const int32_t row = tile * (F::kRows / 2) + r * 8 + from / 4;
      if constexpr (kKind == LinearKind::kGateUp) {
        put<kKind>(a, work.first + pair, row / 8 * 16 + row % 8, low, high);
      } else {
        float* out = static_cast<float*>(a.out) + int64_t{work.first + pair} * a.out_stride + row;
        out[0] = low * (1.0f / kActivatedScale);
        out[a.weights.rows / 2] = high * (1.0f / kActivatedScale);
      }
    }
  }
}

#endif

template <LinearKind kKind, int32_t kChunks>
__global__ void __launch_bounds__(kThreads, 1) bulk_kernel(BulkArgs args, Mark mark) {
#if __CUDA_ARCH__ >= 900
  using F = Form<kChunks>;
  const LinearArgs& a = args.linear;
  M2_DYNAMIC_SHARED(unsigned char, 128, memory);
  __shared__ uint64_t full[kStages];
  const int32_t columns = a.weights.columns, num_chunks = columns / 64;
  const int32_t scale_bytes = 2 * num_chunks * static_cast<int32_t>(sizeof(float));
  const int32_t stage_bytes = F::kRows * columns + scale_bytes;
  Place place{reinterpret_cast<float*>(memory + kStages * stage_bytes)};
  auto* works = reinterpret_cast<Work*>(place.sums + 2 * kWarps * F::kSums * 32);
  if (threadIdx.x == kFetcher) {
    for (int32_t i = 0; i < kStages; ++i) init_barrier(&full[i], 1);
    fence_barriers();
  }
  // The kernel ahead of down is gate and up, which waited for the lists: down's first weights are
  // fetched before it has ended.
  if constexpr (kKind == LinearKind::kGateUp) {
    wait_for_previous();
    start_next(mark);
  }
  // Few works are copied whole, so that no load waits for their number.
  Work own{};
  const bool copies = args.all_works && static_cast<int32_t>(threadIdx.x) < args.most_works;
  if (copies) {
    const volatile Work* from = a.lists.tiles + threadIdx.x;
    own.matrix = from->matrix, own.first = from->first, own.count = from->count;
  }
  const int32_t tiles = a.weights.rows / F::kRows, items = *a.lists.num_tiles * tiles;
  const auto begin = static_cast<int32_t>(int64_t{blockIdx.x} * items / gridDim.x);
  const auto end = static_cast<int32_t>(int64_t{blockIdx.x + 1} * items / gridDim.x);
  const int32_t first_work = args.all_works ? 0 : begin / tiles;
  const int32_t num_works = divide_up(end, tiles) - first_work;
  if (copies) works[threadIdx.x] = own;
  for (int32_t i = threadIdx.x; !args.all_works && i < num_works; i += kThreads) {
    works[i] = a.lists.tiles[first_work + i];
  }
  __syncthreads();
  Ring<kKind, F> ring{a, works, memory, full, stage_bytes, tiles, first_work, end, begin, begin};
  if (threadIdx.x == kFetcher) {
    for (int32_t i = 0; i < kStages; ++i) ring.fetch(i);
  }
  if constexpr (kKind != LinearKind::kGateUp) {
    wait_for_previous();
    start_next(mark);
  }
  while (ring.item < end) {
    const int32_t from = ring.item % tiles, to = min(tiles, from + end - ring.item);
    const Work work = works[ring.item / tiles - first_work];
    if (work.count <= 8) {
      multiply<kKind, F, 1>(a, work, from, to, ring, place);
    } else if (work.count <= 16) {
      multiply<kKind, F, 2>(a, work, from, to, ring, place);
    } else {
      multiply<kKind, F, 3>(a, work, from, to, ring, place);
    }
  }
#endif
}

template <LinearKind kKind, int32_t kChunks>
void launch(const LinearArgs& a, const Queue& queue) {
  using F = Form<kChunks>;
  const int32_t grid = min(a.max_tiles * (a.weights.rows / F::kRows), a.multiprocessors);
  const bool all_works = a.max_tiles <= kThreads;
  const int32_t most_works = all_works ? a.max_tiles : a.max_tiles / grid + 2;
  const int32_t scale_bytes = 2 * (a.weights.columns / 64) * int32_t{sizeof(float)};
  const size_t shared_bytes = size_t{kStages} * (F::kRows * a.weights.columns + scale_bytes) +
                              size_t{2} * kWarps * F::kSums * 32 * sizeof(float) +
                              most_works * sizeof(Work);
  const auto kernel = bulk_kernel<kKind, kChunks>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(shared_bytes));
  prefer_shared(kernel);
  enqueue(kernel, grid, kThreads, shared_bytes, queue, BulkArgs{a, most_works, all_works});
}

template <LinearKind kKind>
void launch_kind(const LinearArgs& a, const Queue& queue) {
  a.weights.columns <= most_columns(3) ? launch<kKind, 3>(a, queue) : launch<kKind, 6>(a, queue);
}

}  // namespace

// Whole tiles, within one row of scales, and copies of whole vectors.
bool linear_bulk_serves(const LinearArgs& a, const Queue& queue) {
  if (a.kind != LinearKind::kGateUp && a.kind != LinearKind::kDown) return false;
  return queue.overlap && queue.shared_bytes >= least_shared_bytes(90) && a.weights.fp8 &&
         a.tokens >= kLeastBulkTokens && a.tokens <= kMostBulkTokens && a.weights.rows % 32 == 0 &&
         a.weights.columns % 256 == 0 && a.weights.columns <= most_columns(6);
}

void launch_linear_bulk(const LinearArgs& args, const Queue& queue) {
  args.kind == LinearKind::kGateUp ? launch_kind<LinearKind::kGateUp>(args, queue)
                                   : launch_kind<LinearKind::kDown>(args, queue);
}

}  // namespace m2::cuda
