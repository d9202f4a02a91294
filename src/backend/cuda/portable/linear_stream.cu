// The stream form. A block takes one tile of 16 weight rows after another; its warps share the
// columns of the tile and add their sums up in a fixed order. Every thread copies the very bytes of
// weights that it will use, some chunks of 64 columns ahead, into a ring of its own in shared
// memory: no thread waits for another, and the stream goes on over the ends of tiles.
#include "backend/cuda/portable/async_copy.cuh"
#include "backend/cuda/portable/linear.cuh"
#include "backend/cuda/portable/single.cuh"

namespace m2::cuda {
namespace {

constexpr int32_t kWarps = 8, kThreads = kWarps * 32;

// A lane's 16 columns of the two rows of a chunk: of FP8 the 16 from 16 t on, of bf16 8 from 8 t on
// in each half of the chunk, so that the lanes of a row always copy whole sectors.
template <bool kFp8>
struct Slot {
  static constexpr int32_t kVectors = kFp8 ? 1 : 2;  // of 16 bytes, a row
  static constexpr int32_t kDepth = kFp8 ? 7 : 3;    // slots of a thread's ring, at most
  static constexpr int32_t kBytes = 32 * kVectors;   // of a slot
  static constexpr int32_t kWeightBytes = kFp8 ? 1 : 2;
  uint4 low[kVectors], high[kVectors];

  // What the tensor core takes of a row in a step: the lane's columns 4 step and 4 step + 1 (first)
  // and the two after them (second).
  __device__ static uint32_t first(const uint4* row, int32_t step) {
    const auto* w = reinterpret_cast<const uint32_t*>(row);
    return kFp8 ? widen_low(w[step]) : w[2 * step];
  }
  __device__ static uint32_t second(const uint4* row, int32_t step) {
    const auto* w = reinterpret_cast<const uint32_t*>(row);
    return kFp8 ? widen_high(w[step]) : w[2 * step + 1];
  }
};

// A walk over a warp's chunks: tile by tile, within a tile once for every kTokens tokens, and then
// chunk by chunk. The copies walk ahead of the products.
template <LinearKind kKind, bool kFp8, int32_t kTokens>
struct Walk {
  const LinearArgs& a;
  const Work* works;
  int32_t tiles;      // of a matrix
  int32_t item, end;  // of the block: item = work * tiles + tile
  int32_t chunks;     // of the warp: every kWarps-th of the tile's
  int32_t g;
  Work work{};
  int32_t token = 0, chunk = 0, tile = 0;
  int32_t row_low = 0, row_high = 0;

  __device__ void open() {
    if (item >= end) return;
    work = works[item / tiles];
    tile = item % tiles;
    token = chunk = 0;
    const int32_t rows = a.weights.rows;
    row_low = min(weight_row<kKind>(tile * 16 + g, rows), rows - 1);
    row_high = min(weight_row<kKind>(tile * 16 + g + 8, rows), rows - 1);
  }
  __device__ bool done() const { return item >= end; }
  __device__ void next_pass() {
    chunk = 0;
    token += kTokens;
    if (token < work.count) return;
    ++item;
    open();
  }
  __device__ const char* row(int32_t index) const {
    return static_cast<const char*>(a.weights.data) +
           (int64_t{work.matrix} * a.weights.rows + index) * a.weights.columns *
               Slot<kFp8>::kWeightBytes;
  }
};

template <LinearKind kKind, bool kFp8, int32_t kColumnTiles>
__global__ void __launch_bounds__(kThreads, kColumnTiles == 1 ? 3 : 2)
    stream_kernel(LinearArgs a, Mark mark) {
  using S = Slot<kFp8>;
  constexpr bool kGrouped = kKind == LinearKind::kGateUp || kKind == LinearKind::kDown;
  constexpr int32_t kTokens = 8 * kColumnTiles, kSums = 4 * kColumnTiles;
  constexpr int32_t kDepth = ring_stages(S::kDepth, kAsyncCopies);
  M2_DYNAMIC_SHARED(uint4, 16, memory);
  // [slots][vector][threads], then sums [2][warps][kSums][32], then the work list.
  uint4* ring = memory + threadIdx.x;
  auto* shared = reinterpret_cast<float*>(memory + kDepth * 2 * S::kVectors * kThreads);
  auto* works = reinterpret_cast<Work*>(shared + 2 * kWarps * kSums * 32);

  // Dense weights are fetched before the kernel ahead has ended. So are those of down: the kernel
  // ahead of it is gate and up, which waited for the lists.
  if constexpr (kKind == LinearKind::kGateUp) {
    wait_for_previous();
    start_next(mark);
  }
  int32_t num_works = 1;
  if constexpr (kGrouped) {
    num_works = *a.lists.num_active;
    for (int32_t i = threadIdx.x; i < num_works; i += kThreads) {
      const int32_t expert = a.lists.active[i], first = a.lists.begin[expert];
      works[i] = {expert, first, a.lists.begin[expert + 1] - first};
    }
  } else if (threadIdx.x == 0) {
    works[0] = {0, 0, a.tokens};
  }
  __syncthreads();
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int32_t num_chunks = a.weights.columns / 64;
  const int32_t tiles = divide_up(a.weights.rows, 16);
  const int32_t items = num_works * tiles;
  const auto begin = static_cast<int32_t>(int64_t{blockIdx.x} * items / gridDim.x);
  const auto end = static_cast<int32_t>(int64_t{blockIdx.x + 1} * items / gridDim.x);
  // Warps take turns, so that what is under way at one time lies together in memory.
  const int32_t chunks = divide_up(max(0, num_chunks - warp), kWarps);
  using Steps = Walk<kKind, kFp8, kTokens>;
  Steps copies{a, works, tiles, begin, end, chunks, g};
  copies.open();
  Steps steps = copies;
  int32_t copy_slot = 0;
  const char *copy_low = copies.row(copies.row_low), *copy_high = copies.row(copies.row_high);
  const auto copy_next = [&] {
    if (copies.chunks > 0 && !copies.done()) {
      const int64_t offset =
          int64_t{(copies.chunk * kWarps + warp) * 64} * S::kWeightBytes + t * 16;
      uint4* slot = ring + copy_slot * 2 * S::kVectors * kThreads;
#pragma unroll
      for (int32_t i = 0; i < S::kVectors; ++i) {
        copy_async(slot + i * kThreads, copy_low + offset + 64 * i);
        copy_async(slot + (S::kVectors + i) * kThreads, copy_high + offset + 64 * i);
      }
      if (++copies.chunk == copies.chunks) {
        copies.next_pass();
        copy_low = copies.row(copies.row_low), copy_high = copies.row(copies.row_high);
      }
    }
    copy_slot = copy_slot + 1 == kDepth ? 0 : copy_slot + 1;
    commit_copies();
  };
#pragma unroll 1
  for (int32_t i = 0; i < kDepth; ++i) copy_next();
  if constexpr (kKind != LinearKind::kGateUp) {
    wait_for_previous();
    start_next(mark);
  }

  int32_t slot = 0, parity = 0;
  while (!steps.done()) {
    const uint16_t* x[kColumnTiles];
#pragma unroll
    for (int32_t n = 0; n < kColumnTiles; ++n) {
      int32_t at = steps.token + n * 8 + g;
      x[n] = nullptr;
      if (at < steps.work.count) {
        at += steps.work.first;
        if constexpr (kKind == LinearKind::kGateUp) at = a.lists.pair_token[at];
        x[n] = a.x + int64_t{at} * a.weights.columns + t * (kFp8 ? 16 : 8);
      }
    }
    const float *scales_low = nullptr, *scales_high = nullptr;
    if constexpr (kFp8) {
      const float* scales = a.weights.scales +
                            int64_t{steps.work.matrix} * divide_up(a.weights.rows, 64) * num_chunks;
      scales_low = scales + steps.row_low / 64 * num_chunks;
      scales_high = scales + steps.row_high / 64 * num_chunks;
    }
    float sums[kColumnTiles][4] = {};
#pragma unroll 1
    for (int32_t i = 0; i < steps.chunks; ++i) {
      const int32_t chunk = i * kWarps + warp;
      float scale_low = 1.0f, scale_high = 1.0f;
      if constexpr (kFp8)
        scale_low = __ldg(scales_low + chunk), scale_high = __ldg(scales_high + chunk);
      uint4 b[kColumnTiles][2];
#pragma unroll
      for (int32_t n = 0; n < kColumnTiles; ++n) {
        const auto* from = reinterpret_cast<const uint4*>(x[n] + chunk * 64);
        b[n][0] = x[n] == nullptr ? uint4{0, 0, 0, 0} : from[0];
        b[n][1] = x[n] == nullptr ? uint4{0, 0, 0, 0} : from[kFp8 ? 1 : 4];
      }
      wait_copies<kDepth - 1>();
      S own;
      const uint4* from = ring + slot * 2 * S::kVectors * kThreads;
#pragma unroll
      for (int32_t v = 0; v < S::kVectors; ++v) {
        own.low[v] = from[v * kThreads];
        own.high[v] = from[(S::kVectors + v) * kThreads];
      }
      slot = slot + 1 == kDepth ? 0 : slot + 1;
      float part[kColumnTiles][4] = {};
#pragma unroll
      for (int32_t step = 0; step < 4; ++step) {
        const uint32_t a0 = S::first(own.low, step), a1 = S::first(own.high, step);
        const uint32_t a2 = S::second(own.low, step), a3 = S::second(own.high, step);
#pragma unroll
        for (int32_t n = 0; n < kColumnTiles; ++n) {
          const auto* words = reinterpret_cast<const uint32_t*>(b[n]);
          mma<kFp8>(part[n], a0, a1, a2, a3, words[2 * step], words[2 * step + 1]);
        }
      }
      copy_next();  // into the slot that was just used up
#pragma unroll
      for (int32_t n = 0; n < kColumnTiles; ++n) {
        sums[n][0] += scale_low * part[n][0];
        sums[n][1] += scale_low * part[n][1];
        sums[n][2] += scale_high * part[n][2];
        sums[n][3] += scale_high * part[n][3];
      }
    }
    // Two places for the sums, used in turn: one barrier a pass is enough.
    float* place = shared + parity * kWarps * kSums * 32;
    parity ^= 1;
#pragma unroll
    for (int32_t n = 0; n < kColumnTiles; ++n) {
#pragma unroll
      for (int32_t i = 0; i < 4; ++i) place[(warp * kSums + n * 4 + i) * 32 + lane] = sums[n][i];
    }
    __syncthreads();
    // Two sums a thread: the same token's of both rows.
    if (const auto i = static_cast<int32_t>(threadIdx.x); i < 32 * 2 * kColumnTiles) {
      const int32_t from = i % 32, n = i / 64, odd = i / 32 % 2;
      float sum_low = 0, sum_high = 0;
#pragma unroll
      for (int32_t w = 0; w < kWarps; ++w) {
        const float* one = place + (w * kSums + n * 4 + odd) * 32 + from;
        sum_low += one[0];
        sum_high += one[2 * 32];
      }
      const int32_t at = steps.token + n * 8 + from % 4 * 2 + odd;
      if (at < steps.work.count) {
        put<kKind>(a, steps.work.first + at, steps.tile * 16 + from / 4, sum_low, sum_high);
      }
    }
    steps.next_pass();
  }
  wait_copies<0>();
}

template <LinearKind kKind, bool kFp8, int32_t kColumnTiles>
void launch(const LinearArgs& a, const Queue& queue) {
  constexpr bool kGrouped = kKind == LinearKind::kGateUp || kKind == LinearKind::kDown;
  using S = Slot<kFp8>;
  const int32_t works = kGrouped ? a.max_active : 1;
  const int32_t depth = ring_stages(S::kDepth, queue.async_copies);
  const size_t shared_bytes = size_t(depth) * S::kBytes * kThreads +
                              size_t{2} * kWarps * 4 * kColumnTiles * 32 * sizeof(float) +
                              works * sizeof(Work);
  const auto kernel = stream_kernel<kKind, kFp8, kColumnTiles>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(shared_bytes));
  // As many blocks as are resident at once: each has an equal share of the tiles.
  int blocks = 1;
  (void)cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, kThreads, shared_bytes);
  const int32_t items = works * divide_up(a.weights.rows, 16);
  enqueue(kernel, min(items, max(1, blocks) * a.multiprocessors), kThreads, shared_bytes, queue, a);
}

template <LinearKind kKind, bool kFp8>
void launch_width(const LinearArgs& a, const Queue& queue) {
  constexpr bool kGrouped = kKind == LinearKind::kGateUp || kKind == LinearKind::kDown;
  // An expert has few of the step's tokens.
  if (a.tokens <= (kGrouped ? 32 : 8)) return launch<kKind, kFp8, 1>(a, queue);
  if (kGrouped || a.tokens <= 16) return launch<kKind, kFp8, 2>(a, queue);
  if constexpr (!kGrouped) launch<kKind, kFp8, 4>(a, queue);
}

template <LinearKind kKind>
void launch_kind(const LinearArgs& a, const Queue& queue) {
  a.weights.fp8 ? launch_width<kKind, true>(a, queue) : launch_width<kKind, false>(a, queue);
}

}  // namespace

void launch_linear_stream(const LinearArgs& args, const Queue& queue) {
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

int32_t expert_tile_tokens(const LinearArgs& gate_up, const LinearArgs& down, const Queue& queue) {
  const bool bulk = linear_bulk_serves(gate_up, queue) && linear_bulk_serves(down, queue);
  return bulk ? kBulkTileTokens : kTileTokens;
}

void launch_linear(const LinearArgs& args, const Queue& queue) {
  if (args.weights.rows == 0 || args.tokens == 0) return;
  const bool experts = args.kind == LinearKind::kGateUp || args.kind == LinearKind::kDown;
  const bool many_rows = args.weights.rows >= 256 * args.multiprocessors;
  const int32_t most_streamed = experts || args.weights.fp8 ? kStreamTokens
                                : many_rows                 ? kStreamTokensOfManyRows
                                                            : kStreamTokensBf16;
  if (experts && args.tile_tokens == kBulkTileTokens) {
    launch_linear_bulk(args, queue);
  } else if (const SingleArgs few{.linear = args}; !experts && single_serves(few, queue)) {
    launch_single(few, queue);
  } else if (linear_split_serves(args, queue)) {
    launch_linear_split(args, queue);
  } else if (linear_wide_serves(args, queue)) {
    launch_linear_wide(args, queue);
  } else if (args.tokens > most_streamed) {
    launch_linear_tile(args, queue);
  } else {
    launch_linear_stream(args, queue);
  }
}

}  // namespace m2::cuda
