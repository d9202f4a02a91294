// What a warp does with chunks of 64 columns in shared memory: some tiles of 16 rows of weights by
// some tiles of 8 tokens. For the forms of linear.cuh that bring tokens and weights by chunks.
//
// With FP8 the sums are kept divided by the scale of the chunk under way, so that the tensor core
// adds to them: where a scale changes they are multiplied by the ratio of the two.
#pragma once

#include "backend/cuda/portable/device.cuh"

namespace m2::cuda {

#ifdef __CUDACC__

inline constexpr float kLeastScale = 0x1p-80f;  // smaller ones, 0 too, count as this

// Rows of a chunk lie without padding. Of a row of 128 bytes the halves change places in odd rows,
// of one of 64 in every other pair: then what a warp reads at once lies in different banks.
template <int32_t kRowBytes>
__device__ inline int32_t place(int32_t row, int32_t vector) {
  return row * kRowBytes +
         (kRowBytes == 128 ? vector ^ (row & 1) << 2 : vector ^ (row >> 1 & 1) << 1) * 16;
}

template <bool kFp8>
struct Chunk {
  static constexpr int32_t kBytes = kFp8 ? 1 : 2;  // a weight
  static constexpr int32_t kRowBytes = 64 * kBytes, kTokenBytes = 128;
};

template <bool kFp8, int32_t kRowTiles, int32_t kColumnTiles>
struct TileProduct {
  static constexpr int32_t kWords = kFp8 ? 2 : 4, kPairs = (kColumnTiles + 1) / 2;
  float sums[kRowTiles][kColumnTiles][4] = {};
  // Operands of the half of a chunk that comes next, 32 columns of which a lane has the 8 from 8 t
  // on: all rows', and those of two tiles of tokens, beside the two before them.
  uint32_t low[kRowTiles][kWords], high[kRowTiles][kWords];
  uint4 x[2][2];
  int32_t row, token, t;  // the lane's first row and token of its stage, and its columns

  __device__ TileProduct(int32_t first_row, int32_t first_token)
      : row(first_row + static_cast<int32_t>(threadIdx.x % 32) / 4),
        token(first_token + static_cast<int32_t>(threadIdx.x % 32) / 4),
        t(static_cast<int32_t>(threadIdx.x) % 4) {}

  // The first operands of the first chunk.
  __device__ void start(const unsigned char* weights, const unsigned char* tokens) {
    load_rows(weights, 0);
    load_tokens(x[0], tokens, 0, 0);
  }
  // Half a chunk; the first operands of the next half are loaded meanwhile.
  template <int32_t kHalf>
  __device__ void multiply(const unsigned char* tokens, const unsigned char* next_weights,
                           const unsigned char* next_tokens) {
    constexpr int32_t kNextHalf = 1 - kHalf, kParity = kHalf * kPairs;
    uint32_t w[2][kRowTiles][4];
    widen(w);
    load_rows(next_weights, kNextHalf);
#pragma unroll
    for (int32_t pair = 0; pair < kPairs; ++pair) {
      const uint4(&now)[2] = x[(kParity + pair) % 2];
      uint4(&next)[2] = x[(kParity + pair + 1) % 2];
      if (pair + 1 < kPairs) {
        load_tokens(next, tokens, kHalf, pair + 1);
      } else {
        load_tokens(next, next_tokens, kNextHalf, 0);
      }
#pragma unroll
      for (int32_t step = 0; step < 2; ++step) {
#pragma unroll
        for (int32_t i = 0; i < 2; ++i) {
          const int32_t n = 2 * pair + i;
          if (n >= kColumnTiles) break;
#pragma unroll
          for (int32_t m = 0; m < kRowTiles; ++m) {
            mma<kFp8>(sums[m][n], w[step][m][0], w[step][m][1], w[step][m][2], w[step][m][3],
                      step == 0 ? now[i].x : now[i].z, step == 0 ? now[i].y : now[i].w);
          }
        }
      }
    }
  }
  // The ratios are the same for all lanes: of rows 0 to 7 of each tile, and of the others.
  __device__ void scale(float low_ratio, float high_ratio) {
    if (low_ratio == 1.0f && high_ratio == 1.0f) return;
#pragma unroll
    for (auto& tiles : sums) {
#pragma unroll
      for (auto& tile : tiles) {
        tile[0] *= low_ratio, tile[1] *= low_ratio;
        tile[2] *= high_ratio, tile[3] *= high_ratio;
      }
    }
  }

 private:
  __device__ void load_rows(const unsigned char* weights, int32_t half) {
    const int32_t vector = kFp8 ? 2 * half + t / 2 : 4 * half + t, within = kFp8 ? t % 2 * 8 : 0;
    const auto load = [&](uint32_t(&to)[kWords], int32_t at) {
      const unsigned char* from = weights + place<Chunk<kFp8>::kRowBytes>(at, vector) + within;
      if constexpr (kFp8) {
        const uint2 words = *reinterpret_cast<const uint2*>(from);
        to[0] = words.x, to[1] = words.y;
      } else {
        const uint4 words = *reinterpret_cast<const uint4*>(from);
        to[0] = words.x, to[1] = words.y, to[2] = words.z, to[3] = words.w;
      }
    };
#pragma unroll
    for (int32_t m = 0; m < kRowTiles; ++m)
      load(low[m], row + m * 16), load(high[m], row + m * 16 + 8);
  }
  __device__ void load_tokens(uint4 (&to)[2], const unsigned char* tokens, int32_t half,
                              int32_t pair) {
#pragma unroll
    for (int32_t i = 0; i < 2; ++i) {
      if (2 * pair + i >= kColumnTiles) break;
      to[i] = *reinterpret_cast<const uint4*>(
          tokens + place<Chunk<kFp8>::kTokenBytes>(token + (2 * pair + i) * 8, 4 * half + t));
    }
  }
  // What the tensor core takes in each of the two steps of 16 columns.
  __device__ void widen(uint32_t (&to)[2][kRowTiles][4]) const {
#pragma unroll
    for (int32_t step = 0; step < 2; ++step) {
#pragma unroll
      for (int32_t m = 0; m < kRowTiles; ++m) {
        if constexpr (kFp8) {
          to[step][m][0] = widen_low(low[m][step]), to[step][m][1] = widen_low(high[m][step]);
          to[step][m][2] = widen_high(low[m][step]), to[step][m][3] = widen_high(high[m][step]);
        } else {
          to[step][m][0] = low[m][2 * step], to[step][m][1] = high[m][2 * step];
          to[step][m][2] = low[m][2 * step + 1], to[step][m][3] = high[m][2 * step + 1];
        }
      }
    }
  }
};

#endif

}  // namespace m2::cuda
