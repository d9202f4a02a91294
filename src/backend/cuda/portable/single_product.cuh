// The products of few tokens (single.cuh): a warp's share of a tile, and where its sums lie among
// those that a block makes of all warps'.
#pragma once

#include "backend/cuda/portable/single_layout.cuh"

#ifdef __CUDACC__

namespace m2::cuda::single {

// A warp's part of a tile: every eighth chunk of 64 columns. `x` is the row of the lane's column,
// or null. With kOne sum[0] and sum[1] are the rows' g and g + 8, otherwise sum[i] is what mma's
// d[i] is.
template <Form kForm, typename L>
__device__ void multiply_tile(const L& l, const unsigned char* tile, const uint4* x, int32_t tokens,
                              float weight_low, float weight_high, float (&sum)[4]) {
  constexpr int32_t kAtOnce = 3;                       // products that do not wait for each other
  constexpr int32_t kSecond = L::kBytes == 1 ? 1 : 4;  // where a lane's other 8 inputs are
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const auto* scales = reinterpret_cast<const float*>(tile + l.tile_bytes);
  constexpr int32_t kVectors = L::kBytes;  // of a row of a chunk, a lane: 16 or twice 8 columns
  const unsigned char* from = tile + g * l.row_bytes + t * 16;
  const int32_t count =
      l.chunks % kWarps == 0 ? l.chunks / kWarps : divide_up(l.chunks - warp, kWarps);
#pragma unroll 2
  for (int32_t first = 0; first < count; first += kAtOnce) {
    uint4 low[kAtOnce][kVectors], high[kAtOnce][kVectors], b[kAtOnce][2];
    float scale_low[kAtOnce], scale_high[kAtOnce];
#pragma unroll
    for (int32_t i = 0; i < kAtOnce; ++i) {
      const int32_t n = first + i, chunk = n * kWarps + warp;
      b[i][0] = b[i][1] = {0, 0, 0, 0};
      scale_low[i] = scale_high[i] = L::kBytes == 1 ? 0 : 1;
#pragma unroll
      for (int32_t v = 0; v < kVectors; ++v) {
        const unsigned char* at = from + chunk * 64 * L::kBytes + v * 64;
        const bool here = n < count;
        low[i][v] = here ? *reinterpret_cast<const uint4*>(at) : uint4{0, 0, 0, 0};
        high[i][v] = here ? *reinterpret_cast<const uint4*>(at + l.high_offset) : uint4{0, 0, 0, 0};
      }
      if (n >= count) continue;
      if (x != nullptr) b[i][0] = x[chunk * 8], b[i][1] = x[chunk * 8 + kSecond];
      if constexpr (L::kBytes == 1) {
        scale_low[i] = scales[chunk] * weight_low;
        scale_high[i] = scales[l.high_scales + chunk] * weight_high;
      }
    }
    float p[kAtOnce][4] = {};
    [[maybe_unused]] float q[kAtOnce][4] = {};  // by the second set of inputs
#pragma unroll
    for (int32_t step = 0; step < 4; ++step) {
#pragma unroll
      for (int32_t i = 0; i < kAtOnce; ++i) {
        const auto* low_words = reinterpret_cast<const uint32_t*>(low[i]);
        const auto* high_words = reinterpret_cast<const uint32_t*>(high[i]);
        const auto* inputs = reinterpret_cast<const uint32_t*>(b[i]);
        uint32_t w[4];
        if constexpr (L::kBytes == 1) {
          w[0] = widen_low(low_words[step]), w[1] = widen_low(high_words[step]);
          w[2] = widen_high(low_words[step]), w[3] = widen_high(high_words[step]);
        } else {
          w[0] = low_words[2 * step], w[1] = high_words[2 * step];
          w[2] = low_words[2 * step + 1], w[3] = high_words[2 * step + 1];
        }
        constexpr bool kF16 = L::kBytes == 1;
        mma<kF16>(p[i], w[0], w[1], w[2], w[3], inputs[2 * step], inputs[2 * step + 1]);
        if constexpr (kForm == Form::kBoth) {
          uint2 two{0, 0};
          const int32_t chunk = (first + i) * kWarps + warp;
          if (x != nullptr && first + i < count) {
            const uint4* eight = x + tokens * l.x_stride + chunk * 8 + step / 2 * kSecond;
            two = reinterpret_cast<const uint2*>(eight)[step % 2];
          }
          mma<kF16>(q[i], w[0], w[1], w[2], w[3], two.x, two.y);
        }
      }
    }
#pragma unroll
    for (int32_t i = 0; i < kAtOnce; ++i) {
      if constexpr (kForm == Form::kOne) {
        sum[0] += scale_low[i] * p[i][0];
        sum[1] += scale_high[i] * p[i][2];
      } else {
        sum[0] += scale_low[i] * p[i][0];
        sum[1] += scale_low[i] * p[i][1];
        sum[2] += scale_high[i] * (kForm == Form::kBoth ? q[i][2] : p[i][2]);
        sum[3] += scale_high[i] * (kForm == Form::kBoth ? q[i][3] : p[i][3]);
      }
    }
  }
}

// What a thread sums up: one token of two rows of a unit, by its place among the outputs of some
// units from `first` on.
struct Output {
  int32_t unit, row, token;

  __device__ static constexpr int32_t a_unit(Form form) { return form == Form::kOne ? 8 : 64; }
  __device__ Output(Form form, int32_t i, int32_t first) {
    const bool one = form == Form::kOne;
    unit = first + i / a_unit(form);
    row = one ? i % 8 : i % 32 / 4;
    // The tensor core's column 2 * column + odd.
    token = one ? 0 : i % 4 * 2 + i / 32 % 2;
  }
  // Where a warp leaves the sums of the two rows.
  __device__ int32_t low(Form form) const {
    return form == Form::kOne ? row : token % 2 * 32 + row * 4 + token / 2;
  }
  __device__ int32_t high(Form form, bool twice) const {
    if (form == Form::kOne) return 8 + row;
    // Of a second set with inputs of its own, four columns further.
    return low(form) + 64 + (twice && form == Form::kMany ? 2 : 0);
  }
};

}  // namespace m2::cuda::single

#endif
