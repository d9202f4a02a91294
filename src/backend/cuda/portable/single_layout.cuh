// The products of few tokens (single.cuh): how a block's work lies in its tiles and its shared
// memory. What one tile is:
//   kStore   16 rows
//   kGateUp  8 rows of gate, the same 8 of up
//   kAdd     8 rows, of which the halves of the columns stand for two sets of rows; so too kStore
//            of bf16 weights
//   kDown    8 rows of one expert, the same 8 of the next one; all experts' tiles of the rows
//            follow each other
// In the last two the second set has inputs of its own, in the other half of the tensor core's
// columns where that has room for all tokens, and its sums are added to the first one's.
#pragma once

#include "backend/cuda/portable/single.cuh"

namespace m2::cuda::single {

inline constexpr int32_t kWarps = 8, kThreads = kWarps * 32;
inline constexpr int32_t kMostStages = 3, kMostInputs = kMostSingleChoices / 2;
inline constexpr int32_t kMostTileBytes = 48 << 10;
// More than half of what a multiprocessor has, so that no two blocks of one kernel share one while
// others are free; kDown comes where every multiprocessor has a block of kGateUp.
inline constexpr size_t kLeastShared = 114 << 10;
inline constexpr size_t kMostShared = 224 << 10;  // beside what a block has without asking

// How tokens lie in the tensor core's 8 columns.
enum class Form : uint8_t {
  kOne,   // one token, in one column of a set, or in two where odd rows read in another order
  kMany,  // a token a column; of halves up to 4, and the second set's beside them
  kBoth,  // halves of up to 8: both sets of rows by both sets of inputs, half of each is used
};

// Sizes that host and device work with. kColumns: of the weights, where they are known; 0: any.
template <LinearKind kKind, bool kFp8 = true, int32_t kColumns = 0>
struct Layout {
  // The sets are halves of the columns; they have inputs of their own.
  static constexpr bool kHalves = kKind == LinearKind::kAdd || !kFp8;
  static constexpr bool kTwice = kHalves || kKind == LinearKind::kDown;
  static constexpr int32_t kBytes = kFp8 ? 1 : 2;  // of a weight
  int32_t set_columns;                             // columns of a set of eight rows
  int32_t row_bytes, high_offset, tile_bytes;
  int32_t chunks, high_scales, scale_bytes;  // of a tile's row; the second set's; of a tile
  int32_t stages;
  int32_t units, tiles_a_unit;   // a unit: the tiles of the same rows
  int32_t kept;                  // units whose sums are kept before they are summed up
  int32_t x_rows, x_stride;      // of x, in uint4
  int32_t unit_sums, warp_sums;  // floats that a unit and a warp of it leave

  __host__ __device__ Layout(const SingleArgs& a, Form form) {
    const int32_t columns = kColumns > 0 ? kColumns : a.linear.weights.columns;
    const int32_t rows = a.linear.weights.rows, tokens = a.linear.tokens;
    set_columns = kHalves ? columns / 2 : columns;
    row_bytes = columns * kBytes;
    high_offset = kHalves ? set_columns * kBytes : 8 * row_bytes;
    tile_bytes = 16 * set_columns * kBytes;
    chunks = set_columns / 64;
    // 16 consecutive rows have one row of scales.
    high_scales = kKind == LinearKind::kStore ? 0 : chunks;
    scale_bytes = kFp8 ? (chunks + high_scales) * static_cast<int32_t>(sizeof(float)) : 0;
    tiles_a_unit = kKind == LinearKind::kDown ? a.count / 2 : 1;
    units = rows / rows_a_unit() * (kKind == LinearKind::kGateUp ? a.count : 1);
    kept = kKind == LinearKind::kGateUp ? 12 : 4;
    x_rows = kKind == LinearKind::kDown ? a.count : kHalves ? 2 * tokens : tokens;
    // One token's inputs are copied as they lie; rows of many are 16 bytes longer than they need to
    // be, and units' sums 8 floats, against bank conflicts.
    x_stride = set_columns / 8 + (form == Form::kOne ? 0 : 1);
    warp_sums = form == Form::kOne ? 16 : 4 * 32;
    unit_sums = kWarps * warp_sums + 8;
    // The neighbours of halves in the chain are small, and with all of its tiles there o_proj need
    // not wait. Tiles of kDown are half as large.
    stages = kTwice || (kKind == LinearKind::kStore && form != Form::kOne) ? kMostStages : 2;
    if (kHalves && bytes() > kMostShared) stages = 2;
  }
  __host__ __device__ static constexpr int32_t rows_a_unit() { return kTwice ? 8 : 16; }
  __host__ __device__ int32_t stage_bytes() const { return tile_bytes + scale_bytes; }
  // Parts in which the inputs come.
  __host__ __device__ int32_t inputs() const {
    return kKind == LinearKind::kDown ? tiles_a_unit : 1;
  }
  __host__ __device__ int32_t x_bytes() const { return x_rows * x_stride * 16; }
  __host__ __device__ size_t bytes() const {
    return size_t(stages) * stage_bytes() + x_bytes() + size_t(kept) * unit_sums * sizeof(float);
  }
  __host__ __device__ size_t shared_bytes() const {
    const size_t least = kKind == LinearKind::kDown ? 0 : kLeastShared;
    return bytes() > least ? bytes() : least;
  }
};

}  // namespace m2::cuda::single
