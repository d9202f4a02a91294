// The products of one token (single.cuh), where the model's widths are known: a warp reads its
// share of a whole tile into registers and gives the stage back before it multiplies, so that the
// next tile is on its way meanwhile.
#pragma once

#include "backend/cuda/portable/single_layout.cuh"

#ifdef __CUDACC__

namespace m2::cuda::single {

// A set of kColumns columns; a warp has every eighth chunk of 64, or when swapped every eighth two.
template <int32_t kColumns>
struct TokenTile {
  static constexpr int32_t kAtOnce = 3;  // products that do not wait for each other
  static constexpr int32_t kChunks = kColumns / 64 / kWarps;  // of a warp
  static constexpr bool kServes = kColumns > 0 && kColumns % (64 * kWarps * kAtOnce) == 0;
  // Rows lie a multiple of 128 bytes apart: when swapped, odd rows, and odd columns of the tensor
  // core, take the other chunk of each two, so that two rows' reads do not meet in the same banks.
  static constexpr bool kSwapped = kServes && kColumns % (2 * 64 * kWarps) == 0;

  // sum[0] and sum[1] are the rows' g and g + 8. `x` is the row of the lane's column, or null; all
  // lanes call `release` when what they need of the tile is in registers.
  template <typename L, typename Release>
  __device__ static void multiply(const L& l, const unsigned char* tile, const uint4* x,
                                  float weight_low, float weight_high, float (&sum)[4],
                                  const Release& release) {
    const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
    const int32_t odd = kSwapped ? g % 2 : 0;
    const auto* scales = reinterpret_cast<const float*>(tile + l.tile_bytes);
    const unsigned char* from = tile + g * l.row_bytes + t * 16;
    const auto chunk_of = [&](int32_t n) {
      return kSwapped ? n / 2 * 2 * kWarps + 2 * warp + (n % 2 ^ odd) : n * kWarps + warp;
    };
    uint4 low[kChunks], high[kChunks];
    float scale_low[kChunks], scale_high[kChunks];
#pragma unroll
    for (int32_t n = 0; n < kChunks; ++n) {
      const int32_t chunk = chunk_of(n);
      low[n] = *reinterpret_cast<const uint4*>(from + chunk * 64);
      high[n] = *reinterpret_cast<const uint4*>(from + chunk * 64 + l.high_offset);
      scale_low[n] = scales[chunk];
      scale_high[n] = scales[l.high_scales + chunk];
    }
    release();
#pragma unroll
    for (int32_t first = 0; first < kChunks; first += kAtOnce) {
      uint4 b[kAtOnce][2];
      float p[kAtOnce][4] = {};
#pragma unroll
      for (int32_t i = 0; i < kAtOnce; ++i) {
        b[i][0] = b[i][1] = {0, 0, 0, 0};
        const int32_t chunk = chunk_of(first + i);
        if (x != nullptr) b[i][0] = x[chunk * 8], b[i][1] = x[chunk * 8 + 1];
      }
#pragma unroll
      for (int32_t step = 0; step < 4; ++step) {
#pragma unroll
        for (int32_t i = 0; i < kAtOnce; ++i) {
          const auto* low_words = reinterpret_cast<const uint32_t*>(&low[first + i]);
          const auto* high_words = reinterpret_cast<const uint32_t*>(&high[first + i]);
          const auto* inputs = reinterpret_cast<const uint32_t*>(b[i]);
          mma<true>(p[i], widen_low(low_words[step]), widen_low(high_words[step]),
                    widen_high(low_words[step]), widen_high(high_words[step]), inputs[2 * step],
                    inputs[2 * step + 1]);
        }
      }
#pragma unroll
      for (int32_t i = 0; i < kAtOnce; ++i) {
        sum[0] += scale_low[first + i] * weight_low * (odd ? p[i][1] : p[i][0]);
        sum[1] += scale_high[first + i] * weight_high * (odd ? p[i][3] : p[i][2]);
      }
    }
  }
};

}  // namespace m2::cuda::single

#endif
