// The products of few tokens (single.cuh): how weights and inputs come into a block's shared
// memory.
#pragma once

#include "backend/cuda/portable/bulk_copy.cuh"
#include "backend/cuda/portable/single_layout.cuh"

#if defined(__CUDACC__) && __CUDA_ARCH__ >= 900

namespace m2::cuda::single {

// The block's ring, which one thread fills.
template <LinearKind kKind, typename L>
struct Ring {
  // Ahead of its turn a kernel whose neighbours read little has one tile under way at a time, since
  // what they read would wait for more.
  static constexpr bool kOneAtATime = kKind == LinearKind::kAdd;

  const SingleArgs& a;
  const L& l;
  unsigned char* memory;
  uint64_t *full, *empty;
  const int32_t* experts;
  int32_t unit, end;              // the next to be fetched
  int32_t tile = 0;               // of the unit
  int32_t choice = 0, first = 0;  // kGateUp: of the unit, and its place in the expert

  __device__ void fetch(int32_t stage) {
    if (unit >= end) return;
    const DeviceMatrix& w = a.linear.weights;
    const auto* data = static_cast<const char*>(w.data);
    const int32_t chunks = w.columns / 64, row_scales = l.chunks * int32_t{sizeof(float)};
    unsigned char* to = memory + stage * l.stage_bytes();
    unsigned char* scales_to = to + l.tile_bytes;
    uint64_t* barrier = &full[stage];
    const uint64_t policy = passing_through();
    expect_bytes(barrier, l.stage_bytes());
    if constexpr (kKind == LinearKind::kStore || kKind == LinearKind::kAdd) {
      const int32_t row = unit * L::rows_a_unit();
      copy_bulk(to, data + int64_t{row} * l.row_bytes, l.tile_bytes, barrier, policy);
      if (l.scale_bytes > 0) {
        copy_bulk(scales_to, w.scales + int64_t{row / 64} * chunks, l.scale_bytes, barrier, policy);
      }
    } else {
      const int64_t matrix_bytes = int64_t{w.rows} * w.columns;
      const int64_t matrix_scales = int64_t{divide_up(w.rows, 64)} * chunks;
      const int32_t low = (kKind == LinearKind::kGateUp ? first : unit) * 8;
      const int32_t high = kKind == LinearKind::kGateUp ? w.rows / 2 + low : low;
      const int32_t e0 = experts[kKind == LinearKind::kGateUp ? choice : 2 * tile];
      const int32_t e1 = kKind == LinearKind::kGateUp ? e0 : experts[2 * tile + 1];
      copy_bulk(to, data + e0 * matrix_bytes + int64_t{low} * w.columns, l.tile_bytes / 2, barrier,
                policy);
      copy_bulk(to + l.tile_bytes / 2, data + e1 * matrix_bytes + int64_t{high} * w.columns,
                l.tile_bytes / 2, barrier, policy);
      copy_bulk(scales_to, w.scales + e0 * matrix_scales + int64_t{low / 64} * chunks, row_scales,
                barrier, policy);
      copy_bulk(scales_to + row_scales, w.scales + e1 * matrix_scales + int64_t{high / 64} * chunks,
                row_scales, barrier, policy);
    }
    if (++tile < l.tiles_a_unit) return;
    tile = 0, ++unit;
    if (kKind == LinearKind::kGateUp && ++first == w.rows / 16) first = 0, ++choice;
  }
  __device__ void fill() {
#pragma unroll 1
    for (int32_t stage = 0; stage < l.stages; ++stage) {
      if (kOneAtATime && stage > 0 && unit < end) wait_barrier(&full[stage - 1], 0);
      fetch(stage);
    }
  }
};

// One thread brings the inputs: of halves every token's, first halves first; of kDown by experts,
// with a barrier for each two, which are a tile's.
template <Form kForm, typename L>
__device__ void fetch_inputs(const SingleArgs& a, const L& l, uint4* x, uint64_t* barrier) {
  const uint32_t bytes = l.set_columns * sizeof(uint16_t);
  const int32_t rows = l.x_rows / l.inputs();  // of a barrier
#pragma unroll 1
  for (int32_t n = 0; n < l.inputs(); ++n) {
    expect_bytes(&barrier[n], rows * bytes);
    if constexpr (kForm == Form::kOne) {
      copy_bulk(x + n * rows * l.x_stride, a.linear.x + int64_t{n} * rows * l.set_columns,
                rows * bytes, &barrier[n]);
    }
  }
  if constexpr (kForm != Form::kOne) {
#pragma unroll 1
    for (int32_t row = 0; row < l.x_rows; ++row) {
      int32_t from = row;
      if constexpr (L::kHalves) {
        from = row < a.linear.tokens ? 2 * row : 2 * (row - a.linear.tokens) + 1;
      }
      copy_bulk(x + row * l.x_stride, a.linear.x + int64_t{from} * l.set_columns, bytes, barrier);
    }
  }
}

}  // namespace m2::cuda::single

#endif
