// The stream form. A warp holds kChunks chunks of 64 columns of 16 weight rows in registers; the
// warps of a block share the columns of the same rows and add their sums up in a fixed order.
#include "backend/cuda/portable/linear.cuh"

namespace m2::cuda {
namespace {

constexpr int32_t kMaxWarps = 16;

template <bool kFp8>
struct Chunk {
  // A lane's 16 consecutive columns of one row of a chunk.
  static constexpr int32_t kVectors = kFp8 ? 1 : 2;
  uint4 words[kVectors];

  __device__ void load(const void* row, int32_t column) {
    const auto* from = reinterpret_cast<const uint4*>(static_cast<const char*>(row) +
                                                      int64_t{column} * (kFp8 ? 1 : 2));
    for (int32_t i = 0; i < kVectors; ++i) words[i] = __ldg(from + i);
  }
  // The bf16 pairs of columns 4 step, 4 step + 1 (first) and the two after them (second).
  __device__ uint32_t first(int32_t step) const {
    const auto* w = reinterpret_cast<const uint32_t*>(words);
    return kFp8 ? widen_low(w[step]) : w[2 * step];
  }
  __device__ uint32_t second(int32_t step) const {
    const auto* w = reinterpret_cast<const uint32_t*>(words);
    return kFp8 ? widen_high(w[step]) : w[2 * step + 1];
  }
};

// What a block works on: consecutive tokens, or the pairs of one expert.
struct Work {
  int32_t matrix, first, count;
};

template <LinearKind kKind>
__device__ Work work_of(const LinearArgs& a) {
  if constexpr (kKind == LinearKind::kStore || kKind == LinearKind::kAdd) return {0, 0, a.tokens};
  if (static_cast<int32_t>(blockIdx.y) >= *a.lists.num_active) return {0, 0, 0};
  const int32_t expert = a.lists.active[blockIdx.y];
  return {expert, a.lists.begin[expert], a.lists.begin[expert + 1] - a.lists.begin[expert]};
}

template <LinearKind kKind, bool kFp8, int32_t kColumnTiles>
__global__ void __launch_bounds__(kMaxWarps * 32) stream_kernel(LinearArgs a) {
  constexpr int32_t kChunks = kFp8 ? 6 : 3;
  constexpr int32_t kTokens = 8 * kColumnTiles;
  extern __shared__ float shared[];  // [warps][4 * kColumnTiles][32]
  const Work work = work_of<kKind>(a);
  if (work.count == 0) return;
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  const int32_t g = lane / 4, t = lane % 4;
  const int32_t rows = a.weights.rows, columns = a.weights.columns;
  const int32_t num_chunks = columns / 64;
  const int32_t rounds = divide_up(num_chunks, kChunks * warps);
  const int32_t tile_row = blockIdx.x * 16 + g;
  const int32_t row_low = min(weight_row<kKind>(tile_row, rows), rows - 1);
  const int32_t row_high = min(weight_row<kKind>(tile_row + 8, rows), rows - 1);
  const char* matrix = static_cast<const char*>(a.weights.data) +
                       int64_t{work.matrix} * rows * columns * (kFp8 ? 1 : 2);
  const char* data_low = matrix + int64_t{row_low} * columns * (kFp8 ? 1 : 2);
  const char* data_high = matrix + int64_t{row_high} * columns * (kFp8 ? 1 : 2);
  const float* scales = nullptr;
  if constexpr (kFp8)
    scales = a.weights.scales + int64_t{work.matrix} * divide_up(rows, 64) * num_chunks;

  Chunk<kFp8> low[kChunks], high[kChunks];
  const auto load_weights = [&](int32_t round) {
#pragma unroll
    for (int32_t i = 0; i < kChunks; ++i) {
      const int32_t chunk = min((round * warps + warp) * kChunks + i, num_chunks - 1);
      low[i].load(data_low, chunk * 64 + t * 16);
      high[i].load(data_high, chunk * 64 + t * 16);
    }
  };
  load_weights(0);

  for (int32_t token = 0; token < work.count; token += kTokens) {
    const bf16_t* x[kColumnTiles];
#pragma unroll
    for (int32_t n = 0; n < kColumnTiles; ++n) {
      int32_t at = token + n * 8 + g;
      x[n] = nullptr;
      if (at < work.count) {
        at += work.first;
        if constexpr (kKind == LinearKind::kGateUp) at = a.lists.pair_token[at];
        x[n] = a.x + int64_t{at} * columns + t * 16;
      }
    }
    float sums[kColumnTiles][4] = {};
    for (int32_t round = 0; round < rounds; ++round) {
      if (rounds > 1 && (round > 0 || token > 0)) load_weights(round);
#pragma unroll
      for (int32_t i = 0; i < kChunks; ++i) {
        const int32_t chunk = (round * warps + warp) * kChunks + i;
        if (chunk >= num_chunks) break;
        float scale_low = 1.0f, scale_high = 1.0f;
        if constexpr (kFp8) {
          scale_low = __ldg(scales + row_low / 64 * num_chunks + chunk);
          scale_high = __ldg(scales + row_high / 64 * num_chunks + chunk);
        }
        float part[kColumnTiles][4] = {};
        uint4 b[kColumnTiles][2];
#pragma unroll
        for (int32_t n = 0; n < kColumnTiles; ++n) {
          const auto* from = reinterpret_cast<const uint4*>(x[n] + chunk * 64);
          b[n][0] = x[n] == nullptr ? uint4{0, 0, 0, 0} : __ldg(from);
          b[n][1] = x[n] == nullptr ? uint4{0, 0, 0, 0} : __ldg(from + 1);
        }
#pragma unroll
        for (int32_t step = 0; step < 4; ++step) {
          const uint32_t a0 = low[i].first(step), a1 = high[i].first(step);
          const uint32_t a2 = low[i].second(step), a3 = high[i].second(step);
#pragma unroll
          for (int32_t n = 0; n < kColumnTiles; ++n) {
            const auto* words = reinterpret_cast<const uint32_t*>(b[n]);
            mma(part[n], a0, a1, a2, a3, words[2 * step], words[2 * step + 1]);
          }
        }
#pragma unroll
        for (int32_t n = 0; n < kColumnTiles; ++n) {
          sums[n][0] += scale_low * part[n][0];
          sums[n][1] += scale_low * part[n][1];
          sums[n][2] += scale_high * part[n][2];
          sums[n][3] += scale_high * part[n][3];
        }
      }
    }
    if (token > 0) __syncthreads();  // the sums before were read
#pragma unroll
    for (int32_t n = 0; n < kColumnTiles; ++n) {
#pragma unroll
      for (int32_t i = 0; i < 4; ++i) {
        shared[(warp * 4 * kColumnTiles + n * 4 + i) * 32 + lane] = sums[n][i];
      }
    }
    __syncthreads();
    // Two sums a thread: the same token's of both rows.
    for (int32_t i = threadIdx.x; i < 32 * 2 * kColumnTiles; i += blockDim.x) {
      const int32_t from = i % 32, n = i / 64, parity = i / 32 % 2;
      float sum_low = 0, sum_high = 0;
      for (int32_t w = 0; w < warps; ++w) {
        const float* place = shared + (w * 4 * kColumnTiles + n * 4 + parity) * 32 + from;
        sum_low += place[0];
        sum_high += place[2 * 32];
      }
      const int32_t at = token + n * 8 + from % 4 * 2 + parity;
      if (at < work.count)
        put<kKind>(a, work.first + at, blockIdx.x * 16 + from / 4, sum_low, sum_high);
    }
  }
}

template <LinearKind kKind, bool kFp8, int32_t kColumnTiles>
void launch(const LinearArgs& a, cudaStream_t stream) {
  const int32_t chunks_a_warp = kFp8 ? 6 : 3;
  const int32_t warps = min(kMaxWarps, divide_up(a.weights.columns / 64, chunks_a_warp));
  const bool grouped = kKind == LinearKind::kGateUp || kKind == LinearKind::kDown;
  const dim3 grid(divide_up(a.weights.rows, 16), grouped ? a.max_active : 1);
  const size_t shared_bytes = size_t{4} * kColumnTiles * 32 * sizeof(float) * warps;
  stream_kernel<kKind, kFp8, kColumnTiles><<<grid, warps * 32, shared_bytes, stream>>>(a);
}

template <LinearKind kKind>
void launch_kind(const LinearArgs& a, cudaStream_t stream) {
  if (a.weights.fp8) {
    a.tokens <= 8 ? launch<kKind, true, 1>(a, stream) : launch<kKind, true, 2>(a, stream);
  } else {
    a.tokens <= 8 ? launch<kKind, false, 1>(a, stream) : launch<kKind, false, 2>(a, stream);
  }
}

}  // namespace

void launch_linear_stream(const LinearArgs& args, cudaStream_t stream) {
  switch (args.kind) {
    case LinearKind::kStore:
      return launch_kind<LinearKind::kStore>(args, stream);
    case LinearKind::kAdd:
      return launch_kind<LinearKind::kAdd>(args, stream);
    case LinearKind::kGateUp:
      return launch_kind<LinearKind::kGateUp>(args, stream);
    case LinearKind::kDown:
      return launch_kind<LinearKind::kDown>(args, stream);
  }
}

void launch_linear(const LinearArgs& args, cudaStream_t stream) {
  if (args.weights.rows == 0 || args.tokens == 0) return;
  args.tokens <= kStreamTokens ? launch_linear_stream(args, stream)
                               : launch_linear_tile(args, stream);
}

}  // namespace m2::cuda
