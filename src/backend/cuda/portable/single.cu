// A block takes tiles of twice eight rows of weights; a warp brings them by bulk copies into a ring
// of a few tiles, scales beside them, and eight warps share the columns. One block fits a
// multiprocessor, beside one of the next kernel, which fills its own ring meanwhile. What one tile
// is:
//   kStore   16 rows
//   kGateUp  8 rows of gate, the same 8 of up
//   kAdd     8 rows, of which the halves of the columns stand for two sets of rows
//   kDown    8 rows of one expert, the same 8 of the next one; all experts' tiles of the rows
//   follow
//            each other
// In the last two the second set has inputs of its own, in the other half of the tensor core's
// columns where that has room for all tokens, and its sums are added to the first one's.
#include "backend/cuda/portable/bulk_copy.cuh"
#include "backend/cuda/portable/choose.cuh"
#include "backend/cuda/portable/single.cuh"

namespace m2::cuda {
namespace {

constexpr int32_t kWarps = 8, kThreads = kWarps * 32 + 32;
[[maybe_unused]] constexpr int32_t kMostStages = 3;
constexpr int32_t kMostTileBytes = 48 << 10;
constexpr size_t kMostShared = 220 << 10;
// More than half of what a multiprocessor has, so that no two blocks of one kernel share one while
// others are free; kDown comes where every multiprocessor has a block of kGateUp.
constexpr size_t kLeastShared = 108 << 10;

// Sizes that host and device work with.
struct Layout {
  int32_t set_columns;  // columns of a set of eight rows
  int32_t row_bytes, high_offset, tile_bytes;
  int32_t scale_bytes;  // of a tile, both sets'
  int32_t stages;
  size_t least_shared;
  int32_t units, tiles_a_unit;
  int32_t x_rows, x_stride;  // uint4 a row: 16 bytes more than it is long, against bank conflicts

  __host__ __device__ Layout(const SingleArgs& a, LinearKind kind) {
    const int32_t columns = a.linear.weights.columns, rows = a.linear.weights.rows;
    set_columns = kind == LinearKind::kAdd ? columns / 2 : columns;
    row_bytes = columns;
    least_shared = kind == LinearKind::kDown ? 0 : kLeastShared;
    // Tiles of kDown are half as large. Those of kAdd are all there before its inputs, which leave
    // room for them when they are one token's.
    const bool three =
        kind == LinearKind::kDown || (kind == LinearKind::kAdd && a.linear.tokens == 1);
    stages = three ? 3 : 2;
    high_offset = kind == LinearKind::kAdd ? set_columns : 8 * columns;
    tile_bytes = 16 * set_columns;
    scale_bytes = 2 * (set_columns / 64) * static_cast<int32_t>(sizeof(float));
    tiles_a_unit = kind == LinearKind::kDown ? a.count / 2 : 1;
    units = kind == LinearKind::kGateUp  ? rows / 16 * a.count
            : kind == LinearKind::kStore ? rows / 16
                                         : rows / 8;
    x_rows = kind == LinearKind::kDown  ? a.count
             : kind == LinearKind::kAdd ? 2 * a.linear.tokens
                                        : a.linear.tokens;
    x_stride = set_columns / 8 + 1;
  }
  __host__ __device__ int32_t stage_bytes() const { return tile_bytes + scale_bytes; }
  __host__ __device__ size_t shared_bytes() const {
    const size_t bytes = size_t(stages) * stage_bytes() + size_t(x_rows) * x_stride * 16;
    return bytes > least_shared ? bytes : least_shared;
  }
};

#if __CUDA_ARCH__ >= 900

// One thread fills the ring.
template <LinearKind kKind>
__device__ void produce(const SingleArgs& a, const Layout& l, const int32_t* experts,
                        unsigned char* memory, uint64_t* full, uint64_t* empty, int32_t begin,
                        int32_t end) {
  const DeviceMatrix& w = a.linear.weights;
  const auto* data = static_cast<const char*>(w.data);
  const int32_t chunks = w.columns / 64, half_scales = l.scale_bytes / 2;
  const int64_t matrix_bytes = int64_t{w.rows} * w.columns;
  const int64_t matrix_scales = int64_t{divide_up(w.rows, 64)} * chunks;
  // In a step of one token nearly all that passes the L2 cache is weights: the rest is to stay
  // there.
  const bool passes = a.linear.tokens == 1;
  const uint64_t policy = passing_through();
  const auto copy = [&](void* to, const void* from, uint32_t bytes, uint64_t* barrier) {
    passes ? copy_bulk(to, from, bytes, barrier, policy) : copy_bulk(to, from, bytes, barrier);
  };
  int32_t n = 0;
  for (int32_t unit = begin; unit < end; ++unit) {
    for (int32_t part = 0; part < l.tiles_a_unit; ++part, ++n) {
      const int32_t stage = n % l.stages, round = n / l.stages;
      if (round > 0) wait_barrier(&empty[stage], (round - 1) & 1);
      unsigned char* to = memory + stage * l.stage_bytes();
      unsigned char* scales_to = to + l.tile_bytes;
      uint64_t* barrier = &full[stage];
      expect_bytes(barrier, l.stage_bytes());
      if constexpr (kKind == LinearKind::kStore || kKind == LinearKind::kAdd) {
        const int32_t row = unit * (kKind == LinearKind::kStore ? 16 : 8);
        const float* scales = w.scales + int64_t{row / 64} * chunks;
        copy(to, data + int64_t{row} * w.columns, l.tile_bytes, barrier);
        if constexpr (kKind == LinearKind::kAdd) {
          copy(scales_to, scales, l.scale_bytes, barrier);
        } else {
          copy(scales_to, scales, half_scales, barrier);
          copy(scales_to + half_scales, scales, half_scales, barrier);
        }
      } else {
        const int32_t tiles = w.rows / 16;
        const int32_t first = kKind == LinearKind::kGateUp ? unit / tiles : 2 * part;
        const int32_t second = kKind == LinearKind::kGateUp ? first : first + 1;
        const int32_t low = (kKind == LinearKind::kGateUp ? unit % tiles : unit) * 8;
        const int32_t high = kKind == LinearKind::kGateUp ? w.rows / 2 + low : low;
        const int32_t e0 = experts[first], e1 = experts[second];
        copy(to, data + e0 * matrix_bytes + int64_t{low} * w.columns, l.tile_bytes / 2, barrier);
        copy(to + l.tile_bytes / 2, data + e1 * matrix_bytes + int64_t{high} * w.columns,
             l.tile_bytes / 2, barrier);
        copy(scales_to, w.scales + e0 * matrix_scales + int64_t{low / 64} * chunks, half_scales,
             barrier);
        copy(scales_to + half_scales, w.scales + e1 * matrix_scales + int64_t{high / 64} * chunks,
             half_scales, barrier);
      }
    }
  }
}

// Of the compute warps alone.
__device__ inline void sync_warps() { sync_some_threads<1, kWarps * 32>(); }

// The norm's weights, of the vectors that a thread norms: they may be read before the kernel ahead
// has ended.
constexpr int32_t kNormVectors = divide_up(kMostTileBytes / 16 / 8, kWarps * 32);
struct NormWeights {
  float4 first[kNormVectors], second[kNormVectors];

  __device__ void load(const SingleArgs& a) {
#pragma unroll
    for (int32_t n = 0; n < kNormVectors; ++n) {
      const int32_t i = n * kWarps * 32 + threadIdx.x;
      if (i >= a.linear.weights.columns / 8) continue;
      first[n] = load_ahead(reinterpret_cast<const float4*>(a.norm) + 2 * i);
      second[n] = load_ahead(reinterpret_cast<const float4*>(a.norm) + 2 * i + 1);
    }
  }
};

// The normed residual as the only row of x.
__device__ void stage_normed(const SingleArgs& a, const NormWeights& weights, uint4* x) {
  __shared__ float shared[kWarps];
  const int32_t vectors = a.linear.weights.columns / 8;
  uint4 own[kNormVectors];
  float squares = 0;
#pragma unroll
  for (int32_t n = 0; n < kNormVectors; ++n) {
    const int32_t i = n * kWarps * 32 + threadIdx.x;
    own[n] = i < vectors ? reinterpret_cast<const uint4*>(a.hidden)[i] : uint4{0, 0, 0, 0};
  }
#pragma unroll
  for (int32_t n = 0; n < kNormVectors; ++n) {
    const uint32_t words[] = {own[n].x, own[n].y, own[n].z, own[n].w};
#pragma unroll
    for (const uint32_t word : words) {
      squares += bf16_low(word) * bf16_low(word) + bf16_high(word) * bf16_high(word);
    }
  }
  squares = warp_sum(squares);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = squares;
  sync_warps();
  float sum = 0;
#pragma unroll
  for (int32_t w = 0; w < kWarps; ++w) sum += shared[w];
  const float factor = 1.0f / sqrtf(sum / static_cast<float>(a.linear.weights.columns) + a.epsilon);
#pragma unroll
  for (int32_t n = 0; n < kNormVectors; ++n) {
    const int32_t i = n * kWarps * 32 + threadIdx.x;
    if (i >= vectors) continue;
    const uint4 v = own[n];
    const float4 w0 = weights.first[n], w1 = weights.second[n];
    x[i] = {pack_f16(bf16_low(v.x) * factor * w0.x, bf16_high(v.x) * factor * w0.y),
            pack_f16(bf16_low(v.y) * factor * w0.z, bf16_high(v.y) * factor * w0.w),
            pack_f16(bf16_low(v.z) * factor * w1.x, bf16_high(v.z) * factor * w1.y),
            pack_f16(bf16_low(v.w) * factor * w1.z, bf16_high(v.w) * factor * w1.w)};
  }
}

#endif

// With kBoth, of kAdd for more than 4 tokens, the tensor core multiplies both sets of rows by both
// sets of inputs, and half of each is used.
template <LinearKind kKind, bool kBoth = false>
__global__ void __launch_bounds__(kThreads, 1) single_kernel(SingleArgs a, Mark mark) {
#if __CUDA_ARCH__ >= 900
  constexpr bool kExperts = kKind == LinearKind::kGateUp || kKind == LinearKind::kDown;
  // The second set of rows has inputs of its own.
  constexpr bool kTwice = kKind == LinearKind::kAdd || kKind == LinearKind::kDown;
  M2_DYNAMIC_SHARED(unsigned char, 128, memory);
  __shared__ uint64_t full[kMostStages], empty[kMostStages];
  __shared__ int32_t experts[kMostSingleChoices];
  __shared__ float weights[kMostSingleChoices];
  __shared__ float sums[2][kWarps][4][32];
  const Layout l(a, kKind);
  auto* x = reinterpret_cast<uint4*>(memory + l.stages * l.stage_bytes());
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const auto begin = static_cast<int32_t>(int64_t{blockIdx.x} * l.units / gridDim.x);
  const auto end = static_cast<int32_t>(int64_t{blockIdx.x + 1} * l.units / gridDim.x);
  if (threadIdx.x == 0) {
    for (int32_t i = 0; i < l.stages; ++i) {
      init_barrier(&full[i], 1);
      init_barrier(&empty[i], kWarps);
    }
    fence_barriers();
  }
  __syncthreads();

  if (warp == kWarps) {
    // The logits are older than the kernel ahead of kDown: that one waited for them.
    if constexpr (kExperts) {
      const auto bias = Biases<kMostSingleExperts / 32>::load(a.bias, a.num_experts, lane);
      if constexpr (kKind == LinearKind::kGateUp) wait_for_previous();
      const Choice choice = choose_experts(a.logits, bias, a.num_experts, a.count, lane);
      if (lane < a.count) experts[lane] = choice.expert, weights[lane] = choice.weight;
      __syncwarp();
    }
    if (lane == 0) produce<kKind>(a, l, experts, memory, full, empty, begin, end);
    return;
  }
  [[maybe_unused]] NormWeights norm;
  if (kKind == LinearKind::kStore && a.norm != nullptr) norm.load(a);
  wait_for_previous();
  start_next(mark);
  // The inputs: of kDown by experts, of kAdd every token's halves, first halves first.
  if (kKind == LinearKind::kStore && a.norm != nullptr) {
    stage_normed(a, norm, x);
  } else {
    const int32_t vectors = l.set_columns / 8;
#pragma unroll 4
    for (int32_t i = threadIdx.x; i < l.x_rows * vectors; i += kWarps * 32) {
      const int32_t row = i / vectors, at = i % vectors;
      int64_t from = i;
      if constexpr (kKind == LinearKind::kAdd) {
        const int32_t half = row / a.linear.tokens, token = row % a.linear.tokens;
        from = int64_t{2 * token + half} * vectors + at;
      }
      x[row * l.x_stride + at] = reinterpret_cast<const uint4*>(a.linear.x)[from];
    }
  }
  sync_warps();

  // Which input a lane loads for its column of the tensor core: a token, or of the second set the
  // same 4 columns further.
  const int32_t tokens = a.linear.tokens, chunks = l.set_columns / 64;
  int32_t row = g < tokens ? g : -1;
  if (kKind == LinearKind::kAdd && !kBoth) row = g % 4 < tokens ? g / 4 * tokens + g % 4 : -1;
  if (kKind == LinearKind::kDown) row = g % 4 == 0 ? g / 4 : -1;
  int32_t n = 0, parity = 0;
  // A thread sums one token of two rows up: those of the tensor core's column 2 * column + odd.
  const int32_t of = threadIdx.x % 32, odd = threadIdx.x / 32, token = of % 4 * 2 + odd;
  const bool sums_up = threadIdx.x < 64 && token < tokens;
  for (int32_t unit = begin; unit < end; ++unit) {
    [[maybe_unused]] bf16_t* out = nullptr;
    [[maybe_unused]] bf16_t before = 0;  // on its way while the products are made
    if constexpr (kTwice) {
      out = static_cast<bf16_t*>(a.linear.out) + int64_t{token} * a.linear.out_stride + unit * 8 +
            of / 4;
      if (sums_up) before = *out;
    }
    float sum[4] = {};
    for (int32_t part = 0; part < l.tiles_a_unit; ++part, ++n) {
      const int32_t stage = n % l.stages;
      const unsigned char* tile = memory + stage * l.stage_bytes();
      const auto* scales = reinterpret_cast<const float*>(tile + l.tile_bytes);
      const unsigned char* from = tile + g * l.row_bytes + t * 16;
      const uint4* input = x + (row < 0 ? 0 : row + 2 * part) * l.x_stride + 2 * t;
      wait_barrier(&full[stage], n / l.stages & 1);
      float weight_low = 1, weight_high = 1;
      if constexpr (kKind == LinearKind::kDown) {
        weight_low = weights[2 * part] / kActivatedScale;
        weight_high = weights[2 * part + 1] / kActivatedScale;
      }
#pragma unroll 3
      for (int32_t chunk = warp; chunk < chunks; chunk += kWarps) {
        const uint4 low = *reinterpret_cast<const uint4*>(from + chunk * 64);
        const uint4 high = *reinterpret_cast<const uint4*>(from + l.high_offset + chunk * 64);
        uint4 b0{0, 0, 0, 0}, b1{0, 0, 0, 0};
        if (row >= 0) b0 = input[chunk * 8], b1 = input[chunk * 8 + 1];
        [[maybe_unused]] float q[4] = {};  // by the second set of inputs
        if constexpr (kBoth) {
          uint4 c0{0, 0, 0, 0}, c1{0, 0, 0, 0};
          const uint4* second = input + tokens * l.x_stride;
          if (row >= 0) c0 = second[chunk * 8], c1 = second[chunk * 8 + 1];
          mma<true>(q, widen_low(low.x), widen_low(high.x), widen_high(low.x), widen_high(high.x),
                    c0.x, c0.y);
          mma<true>(q, widen_low(low.y), widen_low(high.y), widen_high(low.y), widen_high(high.y),
                    c0.z, c0.w);
          mma<true>(q, widen_low(low.z), widen_low(high.z), widen_high(low.z), widen_high(high.z),
                    c1.x, c1.y);
          mma<true>(q, widen_low(low.w), widen_low(high.w), widen_high(low.w), widen_high(high.w),
                    c1.z, c1.w);
        }
        float p[4] = {};
        mma<true>(p, widen_low(low.x), widen_low(high.x), widen_high(low.x), widen_high(high.x),
                  b0.x, b0.y);
        mma<true>(p, widen_low(low.y), widen_low(high.y), widen_high(low.y), widen_high(high.y),
                  b0.z, b0.w);
        mma<true>(p, widen_low(low.z), widen_low(high.z), widen_high(low.z), widen_high(high.z),
                  b1.x, b1.y);
        mma<true>(p, widen_low(low.w), widen_low(high.w), widen_high(low.w), widen_high(high.w),
                  b1.z, b1.w);
        const float scale_low = scales[chunk] * weight_low;
        const float scale_high = scales[chunks + chunk] * weight_high;
        sum[0] += scale_low * p[0];
        sum[1] += scale_low * p[1];
        sum[2] += scale_high * (kBoth ? q[2] : p[2]);
        sum[3] += scale_high * (kBoth ? q[3] : p[3]);
      }
      __syncwarp();
      if (lane == 0) arrive(&empty[stage]);
    }
    // Two places for the sums, used in turn: one barrier a unit is enough.
#pragma unroll
    for (int32_t i = 0; i < 4; ++i) sums[parity][warp][i][lane] = sum[i];
    sync_warps();
    if (threadIdx.x < 64) {
      const int32_t other = kTwice && !kBoth ? of + 2 : of;  // four columns further
      float low = 0, high = 0;
      if (sums_up) {
#pragma unroll
        for (int32_t w = 0; w < kWarps; ++w) {
          low += sums[parity][w][odd][of];
          high += sums[parity][w][odd + 2][other];
        }
        if constexpr (kTwice) {
          *out = to_bf16(bf16_low(before) + low + high);
        } else if constexpr (kKind == LinearKind::kGateUp) {
          const int32_t tiles = a.linear.weights.rows / 16;
          put<kKind>(a.linear, unit / tiles, unit % tiles * 16 + of / 4, low, high);
        } else {
          put<kKind>(a.linear, token, unit * 16 + of / 4, low, high);
        }
      }
      if (kKind == LinearKind::kStore && a.squares != nullptr) {
        // Of the unit's 16 rows, by token.
        float own = low * low + high * high;
        own += __shfl_xor_sync(kAllLanes, own, 4);
        own += __shfl_xor_sync(kAllLanes, own, 8);
        own += __shfl_xor_sync(kAllLanes, own, 16);
        if (of < 4 && token < tokens) a.squares[token * l.units + unit] = own;
      }
    }
    parity ^= 1;
  }
#endif
}

template <LinearKind kKind, bool kBoth = false>
void launch(const SingleArgs& a, const Queue& queue) {
  const Layout l(a, kKind);
  const auto kernel = single_kernel<kKind, kBoth>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(l.shared_bytes()));
  enqueue(kernel, min(l.units, a.linear.multiprocessors), kThreads, l.shared_bytes(), queue, a);
}

}  // namespace

bool single_serves(const SingleArgs& a, const Queue& queue) {
  const LinearArgs& linear = a.linear;
  const bool experts = linear.kind == LinearKind::kGateUp || linear.kind == LinearKind::kDown;
  if (experts && (linear.tokens != 1 || a.num_experts > kMostSingleExperts ||
                  a.count > kMostSingleChoices || a.count % 2 != 0)) {
    return false;
  }
  const Layout l(a, linear.kind);
  // Copies are of whole vectors; rows of a tile have one row of scales.
  return queue.overlap && linear.weights.fp8 && linear.weights.rows % 16 == 0 &&
         linear.tokens <= kMostSingleTokens && l.set_columns % 256 == 0 &&
         l.tile_bytes <= kMostTileBytes && l.shared_bytes() <= min(kMostShared, queue.shared_bytes);
}

void launch_single(const SingleArgs& args, const Queue& queue) {
  switch (args.linear.kind) {
    case LinearKind::kStore:
      return launch<LinearKind::kStore>(args, queue);
    case LinearKind::kAdd:
      return args.linear.tokens > 4 ? launch<LinearKind::kAdd, true>(args, queue)
                                    : launch<LinearKind::kAdd>(args, queue);
    case LinearKind::kGateUp:
      return launch<LinearKind::kGateUp>(args, queue);
    case LinearKind::kDown:
      return launch<LinearKind::kDown>(args, queue);
  }
}

}  // namespace m2::cuda
