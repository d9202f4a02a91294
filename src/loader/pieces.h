// Slices of weights cut into pieces that a WeightBlock takes.
//
// Thread-safety: pure functions.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "loader/each_slice.h"
#include "model/config.h"
#include "model/shard.h"
#include "model/weight_block.h"
#include "model/weights.h"

namespace m2 {

// Bytes of an element in the weights, whatever the file holds.
inline size_t element_bytes(const TensorSlice& slice, const ModelConfig& config) {
  if (slice.format == SliceFormat::kF32) return sizeof(float);
  return slice.format == SliceFormat::kQuantised && config.fp8() ? 1 : 2;
}

inline bool has_scales(const TensorSlice& slice, const ModelConfig& config) {
  return slice.format == SliceFormat::kQuantised && config.fp8();
}

// Rows of the slices, so many that a piece fits; each piece is a slice itself. Pieces begin at
// multiples of a block of scales, so that each has its own rows of them.
inline std::vector<TensorSlice> pieces_of(const std::vector<TensorSlice>& slices,
                                          const ModelConfig& config) {
  std::vector<TensorSlice> pieces;
  for (const TensorSlice& slice : slices) {
    const size_t row_bytes = slice.column_count * element_bytes(slice, config);
    const auto most =
        static_cast<int64_t>(WeightBlock::kMostPieceBytes / std::max<size_t>(row_bytes, 1));
    const int64_t rows = std::max<int64_t>(most / kFp8BlockSize, 1) * kFp8BlockSize;
    for (int64_t row = 0; row < slice.row_count; row += rows) {
      TensorSlice& piece = pieces.emplace_back(slice);
      piece.row_begin += row;
      piece.row_count = std::min(rows, slice.row_count - row);
      piece.offset += row * row_bytes;
      piece.scale_offset += row / kScaleTile * scale_tiles(slice.column_count) * sizeof(float);
    }
  }
  return pieces;
}

// Puts every piece of the slices: data(piece, bytes) its elements, scales(piece, to) writes its
// tiles if it has any.
template <typename Data, typename Scales>
Status put_slices(const std::vector<TensorSlice>& slices, const ModelConfig& config, int threads,
                  WeightBlock& block, const Data& data, const Scales& scales) {
  return for_each_slice(
      pieces_of(slices, config), threads, [&](const TensorSlice& piece) -> Status {
        if (piece.row_count == 0) return {};
        M2_TRY(data(piece, piece.row_count * piece.column_count * element_bytes(piece, config)));
        if (!has_scales(piece, config)) return {};
        const size_t tiles = scale_tiles(piece.row_count) * scale_tiles(piece.column_count);
        return block.put(piece.scale_offset, tiles * sizeof(float), [&](std::byte* to) {
          return scales(piece, reinterpret_cast<float*>(to));
        });
      });
}

}  // namespace m2
