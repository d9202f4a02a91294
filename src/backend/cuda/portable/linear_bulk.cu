// The stream form of the experts for compute capability 9.0 and later: whole tiles of weights come
// as one or two bulk copies of consecutive bytes, which memory delivers fastest, into a ring of a
// few tiles. One block a multiprocessor: a warp that only copies, and eight that multiply.
#include "backend/cuda/portable/bulk_copy.cuh"
#include "backend/cuda/portable/linear.cuh"

namespace m2::cuda {
namespace {

constexpr int32_t kWarps = 8, kThreads = kWarps * 32 + 32;
// Enough under way to keep memory busy; more only delays the small reads of the other kernels.
constexpr int32_t kRingBytes = 150 << 10, kMaxRingBytes = 200 << 10, kMaxStages = 6;

int32_t stages_of(const LinearArgs& a) {
  const int32_t tile_bytes = 16 * a.weights.columns;
  const int32_t stages = kRingBytes / tile_bytes;
  return stages < 2 ? 2 : stages > kMaxStages ? kMaxStages : stages;
}

struct BulkArgs {
  LinearArgs linear;
  int32_t stages;
};

template <LinearKind kKind, int32_t kColumnTiles>
__global__ void __launch_bounds__(kThreads, 1) bulk_kernel(BulkArgs args) {
#if __CUDA_ARCH__ >= 900
  constexpr int32_t kTokens = 8 * kColumnTiles, kSums = 4 * kColumnTiles;
  const LinearArgs& a = args.linear;
  extern __shared__ __align__(128) unsigned char memory[];
  __shared__ uint64_t full[kMaxStages], empty[kMaxStages];
  const int32_t columns = a.weights.columns, rows = a.weights.rows, tile_bytes = 16 * columns;
  // The ring, then sums [2][warps][kSums][32], then the work list.
  auto* shared = reinterpret_cast<float*>(memory + args.stages * tile_bytes);
  auto* works = reinterpret_cast<Work*>(shared + 2 * kWarps * kSums * 32);
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  if (threadIdx.x == 0) {
    for (int32_t i = 0; i < args.stages; ++i) {
      init_barrier(&full[i], 1);
      init_barrier(&empty[i], kWarps);
    }
    fence_barriers();
  }
  // As in the other stream form: down's weights are fetched ahead.
  if constexpr (kKind == LinearKind::kGateUp) {
    wait_for_previous();
    start_next();
  }
  const int32_t num_works = *a.lists.num_active;
  for (int32_t i = threadIdx.x; i < num_works; i += kThreads) {
    const int32_t expert = a.lists.active[i], first = a.lists.begin[expert];
    works[i] = {expert, first, a.lists.begin[expert + 1] - first};
  }
  __syncthreads();
  const int32_t tiles = divide_up(rows, 16), items = num_works * tiles;
  const auto begin = static_cast<int32_t>(int64_t{blockIdx.x} * items / gridDim.x);
  const auto end = static_cast<int32_t>(int64_t{blockIdx.x + 1} * items / gridDim.x);

  if (warp == kWarps) {
    if (lane == 0) {
      for (int32_t item = begin, n = 0; item < end; ++item, ++n) {
        const int32_t stage = n % args.stages, round = n / args.stages;
        if (round > 0) wait_barrier(&empty[stage], (round - 1) & 1);
        const char* matrix = static_cast<const char*>(a.weights.data) +
                             int64_t{works[item / tiles].matrix} * rows * columns;
        unsigned char* to = memory + stage * tile_bytes;
        const int32_t tile = item % tiles;
        expect_bytes(&full[stage], tile_bytes);
        if constexpr (kKind == LinearKind::kGateUp) {
          const char* from = matrix + int64_t{tile} * 8 * columns;
          copy_bulk(to, from, tile_bytes / 2, &full[stage]);
          copy_bulk(to + tile_bytes / 2, from + int64_t{rows / 2} * columns, tile_bytes / 2,
                    &full[stage]);
        } else {
          copy_bulk(to, matrix + int64_t{tile} * tile_bytes, tile_bytes, &full[stage]);
        }
      }
    }
    if constexpr (kKind != LinearKind::kGateUp) {
      wait_for_previous();
      start_next();
    }
    return;
  }
  if constexpr (kKind != LinearKind::kGateUp) {
    wait_for_previous();
    start_next();
  }

  const int32_t num_chunks = columns / 64;
  int32_t parity = 0;
  for (int32_t item = begin, n = 0; item < end; ++item, ++n) {
    const int32_t stage = n % args.stages, tile = item % tiles;
    const Work work = works[item / tiles];
    const float* scales =
        a.weights.scales + int64_t{work.matrix} * divide_up(rows, 64) * num_chunks;
    const float* scales_low = scales + weight_row<kKind>(tile * 16 + g, rows) / 64 * num_chunks;
    const float* scales_high =
        scales + weight_row<kKind>(tile * 16 + g + 8, rows) / 64 * num_chunks;
    const unsigned char* weights = memory + stage * tile_bytes + g * columns + t * 16;
    for (int32_t token = 0; token < work.count; token += kTokens) {
      const uint16_t* x[kColumnTiles];
#pragma unroll
      for (int32_t i = 0; i < kColumnTiles; ++i) {
        int32_t at = token + i * 8 + g;
        x[i] = nullptr;
        if (at < work.count) {
          at += work.first;
          if constexpr (kKind == LinearKind::kGateUp) at = a.lists.pair_token[at];
          x[i] = a.x + int64_t{at} * columns + t * 16;
        }
      }
      if (token == 0) wait_barrier(&full[stage], n / args.stages & 1);
      float sums[kColumnTiles][4] = {};
#pragma unroll(kColumnTiles == 1 ? 3 : 1)
      for (int32_t chunk = warp; chunk < num_chunks; chunk += kWarps) {
        const float scale_low = __ldg(scales_low + chunk), scale_high = __ldg(scales_high + chunk);
        const uint4 low = *reinterpret_cast<const uint4*>(weights + chunk * 64);
        const uint4 high = *reinterpret_cast<const uint4*>(weights + 8 * columns + chunk * 64);
        const uint32_t four_low[] = {low.x, low.y, low.z, low.w};
        const uint32_t four_high[] = {high.x, high.y, high.z, high.w};
        uint4 b[kColumnTiles][2];
#pragma unroll
        for (int32_t i = 0; i < kColumnTiles; ++i) {
          const auto* from = reinterpret_cast<const uint4*>(x[i] + chunk * 64);
          b[i][0] = x[i] == nullptr ? uint4{0, 0, 0, 0} : __ldg(from);
          b[i][1] = x[i] == nullptr ? uint4{0, 0, 0, 0} : __ldg(from + 1);
        }
        float part[kColumnTiles][4] = {};
#pragma unroll
        for (int32_t step = 0; step < 4; ++step) {
          const uint32_t a0 = widen_low(four_low[step]), a1 = widen_low(four_high[step]);
          const uint32_t a2 = widen_high(four_low[step]), a3 = widen_high(four_high[step]);
#pragma unroll
          for (int32_t i = 0; i < kColumnTiles; ++i) {
            const auto* words = reinterpret_cast<const uint32_t*>(b[i]);
            mma<true>(part[i], a0, a1, a2, a3, words[2 * step], words[2 * step + 1]);
          }
        }
#pragma unroll
        for (int32_t i = 0; i < kColumnTiles; ++i) {
          sums[i][0] += scale_low * part[i][0];
          sums[i][1] += scale_low * part[i][1];
          sums[i][2] += scale_high * part[i][2];
          sums[i][3] += scale_high * part[i][3];
        }
      }
      if (token + kTokens >= work.count) {
        __syncwarp();
        if (lane == 0) arrive(&empty[stage]);
      }
      float* place = shared + parity * kWarps * kSums * 32;
      parity ^= 1;
#pragma unroll
      for (int32_t i = 0; i < kSums; ++i)
        place[(warp * kSums + i) * 32 + lane] = sums[i / 4][i % 4];
      asm volatile("bar.sync 1, %0;" ::"n"(kWarps * 32) : "memory");
      if (const auto i = static_cast<int32_t>(threadIdx.x); i < 32 * 2 * kColumnTiles) {
        const int32_t from = i % 32, column = i / 64, odd = i / 32 % 2;
        float sum_low = 0, sum_high = 0;
#pragma unroll
        for (int32_t w = 0; w < kWarps; ++w) {
          const float* one = place + (w * kSums + column * 4 + odd) * 32 + from;
          sum_low += one[0];
          sum_high += one[2 * 32];
        }
        const int32_t at = token + column * 8 + from % 4 * 2 + odd;
        if (at < work.count) {
          put<kKind>(a, work.first + at, tile * 16 + from / 4, sum_low, sum_high);
        }
      }
    }
  }
#endif
}

template <LinearKind kKind, int32_t kColumnTiles>
void launch(const LinearArgs& a, const Queue& queue) {
  const int32_t works = a.max_active, stages = stages_of(a);
  const size_t shared_bytes = size_t(stages) * 16 * a.weights.columns +
                              size_t{2} * kWarps * 4 * kColumnTiles * 32 * sizeof(float) +
                              works * sizeof(Work);
  const auto kernel = bulk_kernel<kKind, kColumnTiles>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(shared_bytes));
  const int32_t items = works * divide_up(a.weights.rows, 16);
  enqueue(kernel, min(items, a.multiprocessors), kThreads, shared_bytes, queue,
          BulkArgs{a, stages});
}

}  // namespace

// Whole tiles of experts only, and two of them must fit.
bool linear_bulk_serves(const LinearArgs& a, const Queue& queue) {
  if (a.kind != LinearKind::kGateUp && a.kind != LinearKind::kDown) return false;
  if (a.tokens < kLeastBulkTokens || a.tokens > kMostBulkTokens) return false;
  const int32_t rows = a.kind == LinearKind::kGateUp ? a.weights.rows / 2 : a.weights.rows;
  return queue.overlap && a.weights.fp8 && rows % 16 == 0 && a.weights.columns % 128 == 0 &&
         stages_of(a) * 16 * a.weights.columns <= kMaxRingBytes;
}

void launch_linear_bulk(const LinearArgs& args, const Queue& queue) {
  args.kind == LinearKind::kGateUp ? launch<LinearKind::kGateUp, 1>(args, queue)
                                   : launch<LinearKind::kDown, 1>(args, queue);
}

}  // namespace m2::cuda
