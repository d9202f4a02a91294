// Dense FP8 products of a middling number of tokens, on compute capability 9.0 and others whose
// blocks may take as much shared memory. What such a product reads from the L2 cache bounds it: a
// block's rows of weights once for every block of tokens, its tokens once for every block of rows.
// So a block takes 256 rows and up to 128 tokens, and, where that gives few blocks, a part of the
// columns; whoever reads the result adds the parts up. Weights and tokens come through a deep ring,
// and the weights that it has room for before the kernel ahead has ended.
#include "backend/cuda/portable/async_copy.cuh"
#include "backend/cuda/portable/bulk_copy.cuh"
#include "backend/cuda/portable/linear.cuh"
#include "backend/cuda/portable/tile_product.cuh"

namespace m2::cuda {
namespace {

constexpr int32_t kRowTiles = 4;           // of 16 rows, a warp
constexpr size_t kMostShared = 224 << 10;  // of the ring
// Ratios of a whole row have room beside the ring, of four rows of scales.
constexpr int32_t kMostSplitColumns = 64 * 150;
constexpr int32_t kMostStages = 12;
constexpr int32_t kMostSplits = 12;
// Chunks by which warps may be apart.
[[maybe_unused]] constexpr int32_t kDrift = 2;

// Warps of a block by rows and by tokens, and a warp's tiles of 8 tokens.
template <int32_t kRowWarpsOf, int32_t kTokenWarpsOf, int32_t kColumnTilesOf>
struct Form {
  static constexpr int32_t kRowWarps = kRowWarpsOf, kTokenWarps = kTokenWarpsOf;
  static constexpr int32_t kColumnTiles = kColumnTilesOf;
  static constexpr int32_t kWarps = kRowWarps * kTokenWarps, kThreads = kWarps * 32;
  static constexpr int32_t kRows = kRowWarps * kRowTiles * 16;
  static constexpr int32_t kTokens = kTokenWarps * kColumnTiles * 8;
  static constexpr int32_t kRowBytes = Chunk<true>::kRowBytes, kXBytes = Chunk<true>::kTokenBytes;
  static constexpr int32_t kWeightBytes = kRows * kRowBytes;  // of a stage
  static constexpr int32_t kStageBytes = kWeightBytes + kTokens * kXBytes;
  static constexpr int32_t kFit = static_cast<int32_t>(kMostShared / kStageBytes);
  static constexpr int32_t kStages = kFit < kMostStages ? kFit : kMostStages;
};

template <LinearKind kKind, typename F>
__global__ void __launch_bounds__(F::kThreads, 1) split_kernel(LinearArgs a, Mark mark) {
#if __CUDA_ARCH__ >= 900
  constexpr int32_t kStages = F::kStages;
  M2_DYNAMIC_SHARED(unsigned char, 128, memory);  // [stages][weights, then tokens]
  __shared__ uint64_t full[kStages], empty[kStages];
  // [row warps][chunks + 1] what the sums are multiplied by before a chunk, and at the end.
  auto* ratios = reinterpret_cast<float*>(memory + kStages * F::kStageBytes);
  const int32_t rows = a.weights.rows, columns = a.weights.columns, num_chunks = columns / 64;
  const int32_t first_row = blockIdx.y * F::kRows, first = blockIdx.x * F::kTokens;
  const int32_t count = min(F::kTokens, a.tokens - first);
  const auto begin = static_cast<int32_t>(blockIdx.z) * num_chunks / a.splits;
  const auto chunks = static_cast<int32_t>(blockIdx.z + 1) * num_chunks / a.splits - begin;
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  if (threadIdx.x == 0) {
    for (int32_t i = 0; i < kStages; ++i) {
      init_barrier(&full[i], F::kThreads);
      init_barrier(&empty[i], F::kThreads);
    }
    fence_barriers();
  }
  __syncthreads();

  // Half of the warps copy weights, the others tokens, so that neither waits for the other's.
  constexpr int32_t kVectors = F::kRowBytes / 16;
  constexpr int32_t kCopiers = F::kThreads / 2;
  const auto copier = static_cast<int32_t>(threadIdx.x) % kCopiers;
  const bool copies_weights = warp < F::kWarps / 2;
  const auto stage_of = [&](int32_t chunk) { return memory + chunk % kStages * F::kStageBytes; };
  const auto copy_weights = [&](int32_t chunk) {
    constexpr int32_t kStep = kCopiers / kVectors;
    const char* from =
        static_cast<const char*>(a.weights.data) + (begin + chunk) * 64 + copier % kVectors * 16;
#pragma unroll
    for (int32_t i = 0; i < F::kRows / kStep; ++i) {
      const int32_t row = copier / kVectors + i * kStep;
      copy_async(stage_of(chunk) + place<F::kRowBytes>(row, copier % kVectors),
                 from + int64_t{min(first_row + row, rows - 1)} * columns);
    }
    arrive_when_copied(&full[chunk % kStages]);
  };
  const auto copy_tokens = [&](int32_t chunk) {
    constexpr int32_t kStep = kCopiers / 8;
    const uint16_t* from = a.x + int64_t{first} * columns + (begin + chunk) * 64 + copier % 8 * 8;
#pragma unroll
    for (int32_t i = 0; i < F::kTokens / kStep; ++i) {
      const int32_t token = copier / 8 + i * kStep;
      if (token >= count) break;  // its sums are never stored
      copy_async(stage_of(chunk) + F::kWeightBytes + place<F::kXBytes>(token, copier % 8),
                 from + int64_t{token} * columns);
    }
    arrive_when_copied(&full[chunk % kStages]);
  };
  const int32_t ahead = min(chunks, kStages);
  if (copies_weights) {
    for (int32_t i = 0; i < ahead; ++i) copy_weights(i);
  }
  // The 64 rows of a warp have one row of scales.
  for (int32_t i = threadIdx.x; i < F::kRowWarps * (chunks + 1); i += F::kThreads) {
    const int32_t chunk = i % (chunks + 1), row = first_row + i / (chunks + 1) * 64;
    const float* scales = a.weights.scales + int64_t{min(row, rows - 1) / 64} * num_chunks + begin;
    const float before = fmaxf(__ldg(scales + max(chunk - 1, 0)), kLeastScale);
    const float now = chunk == 0        ? before
                      : chunk == chunks ? 1.0f
                                        : fmaxf(__ldg(scales + chunk), kLeastScale);
    ratios[i] = before / now;
  }
  wait_for_previous();
  start_next(mark);
  if (!copies_weights) {
    for (int32_t i = 0; i < ahead; ++i) copy_tokens(i);
  }
  __syncthreads();  // for the ratios

  const int32_t own_row = warp % F::kRowWarps * 64;  // within the block's
  const int32_t own_token = warp / F::kRowWarps * F::kColumnTiles * 8;
  const float* own_ratios = ratios + warp % F::kRowWarps * (chunks + 1);
  TileProduct<true, kRowTiles, F::kColumnTiles> product(own_row, own_token);
  const auto wait_for = [&](int32_t chunk) {
    wait_barrier(&full[chunk % kStages], chunk / kStages & 1);
  };
  wait_for(0);
  product.start(stage_of(0), stage_of(0) + F::kWeightBytes);
  for (int32_t chunk = 0; chunk < chunks; ++chunk) {
    const unsigned char *now = stage_of(chunk), *next = stage_of(chunk + 1);
    product.scale(own_ratios[chunk], own_ratios[chunk]);
    product.template multiply<0>(now + F::kWeightBytes, now, now + F::kWeightBytes);
    if (chunk + 1 < chunks) wait_for(chunk + 1);
    if (const int32_t used = chunk - kDrift; used >= 0 && used + kStages < chunks) {
      wait_barrier(&empty[used % kStages], used / kStages & 1);
      copies_weights ? copy_weights(used + kStages) : copy_tokens(used + kStages);
    }
    // After the last chunk: what an earlier one left.
    product.template multiply<1>(now + F::kWeightBytes, next, next + F::kWeightBytes);
    arrive(&empty[chunk % kStages]);
  }
  product.scale(own_ratios[chunks], own_ratios[chunks]);

  LinearArgs out = a;
  if constexpr (kKind == LinearKind::kStore) {
    out.out = static_cast<float*>(a.out) + int64_t{blockIdx.z} * a.tokens * a.out_stride;
  }
#pragma unroll
  for (int32_t m = 0; m < kRowTiles; ++m) {
    const int32_t row = first_row + own_row + m * 16 + g;
#pragma unroll
    for (int32_t n = 0; n < F::kColumnTiles; ++n) {
      const int32_t token = own_token + n * 8 + 2 * t;
      const auto& sum = product.sums[m][n];
      if (token < count) put<kKind>(out, first + token, row, sum[0], sum[2]);
      if (token + 1 < count) put<kKind>(out, first + token + 1, row, sum[1], sum[3]);
    }
  }
#endif
}

template <LinearKind kKind, typename F>
void launch(const LinearArgs& a, const Queue& queue) {
  const int32_t chunks = divide_up(a.weights.columns / 64, a.splits);
  const size_t shared_bytes =
      size_t{F::kStages} * F::kStageBytes + F::kRowWarps * (chunks + 1) * sizeof(float);
  const auto kernel = split_kernel<kKind, F>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(shared_bytes));
  prefer_shared(kernel);
  const dim3 grid(divide_up(a.tokens, F::kTokens), divide_up(a.weights.rows, F::kRows), a.splits);
  enqueue(kernel, grid, F::kThreads, shared_bytes, queue, a);
}

template <LinearKind kKind>
void launch_kind(const LinearArgs& a, const Queue& queue) {
  if (a.tokens <= 32) return launch<kKind, Form<4, 2, 2>>(a, queue);
  a.tokens <= 64 ? launch<kKind, Form<4, 2, 4>>(a, queue) : launch<kKind, Form<4, 2, 8>>(a, queue);
}

constexpr int32_t kRows = Form<4, 2, 2>::kRows;  // of a block in each form

}  // namespace

bool linear_split_serves(const LinearArgs& a, const Queue& queue) {
  return (a.kind == LinearKind::kStore || a.kind == LinearKind::kAdd) && a.weights.fp8 &&
         queue.overlap && queue.shared_bytes >= least_shared_bytes(90) &&
         a.tokens >= kLeastSplitTokens && a.tokens <= kMostSplitTokens &&
         a.weights.columns <= kMostSplitColumns;
}

int32_t linear_splits(const LinearArgs& a, int64_t room, const Queue& queue) {
  if (!linear_split_serves(a, queue)) return 1;
  const int32_t tile = a.tokens <= 32 ? 32 : a.tokens <= 64 ? 64 : 128;
  const int32_t blocks = divide_up(a.weights.rows, kRows) * divide_up(a.tokens, tile);
  const int32_t chunks = a.weights.columns / 64;
  // In chunks: those that a multiprocessor goes through, what a block costs beside its own, and
  // what whoever adds a part up does.
  const auto cost = [&](int32_t splits) {
    const int32_t rounds = divide_up(int64_t{blocks} * splits, a.multiprocessors);
    return static_cast<float>(rounds * (divide_up(chunks, splits) + 4)) +
           static_cast<float>(splits) * (tile < 128 ? 1.0f : 0.3f);
  };
  int32_t best = 1;
  for (int32_t splits = 2; splits <= min(kMostSplits, chunks / 4) && splits <= room; ++splits) {
    if (cost(splits) < cost(best)) best = splits;
  }
  return best;
}

void launch_linear_split(const LinearArgs& args, const Queue& queue) {
  args.kind == LinearKind::kStore ? launch_kind<LinearKind::kStore>(args, queue)
                                  : launch_kind<LinearKind::kAdd>(args, queue);
}

}  // namespace m2::cuda
