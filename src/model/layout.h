// Where every tensor of one rank lies in its block of weights: the single walk that weights.cc
// turns into pointers and shard.cc into slices of the checkpoint, so that the two cannot disagree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/dtype.h"

namespace m2 {

struct ModelConfig;
struct Shard;

// A matrix's (or vector's: one row) place; as struct Matrix, with offsets in bytes.
struct Place {
  size_t offset = 0, scale_offset = 0;
  DType dtype = DType::kF32;
  int64_t rows = 1, columns = 0, count = 1;

  size_t matrix_bytes() const { return static_cast<size_t>(rows * columns) * dtype_bytes(dtype); }
  // The byte offset of a row of the index-th matrix, and of the scales of the tiles at that row.
  size_t row_offset(int64_t index, int64_t row) const;
  size_t row_scale_offset(int64_t index, int64_t row) const;
};

struct LayerLayout {
  Place input_norm, qkv, q_norm, k_norm, o_proj, post_norm, gate, gate_bias, gate_up, down;
};

struct WeightsLayout {
  Place embed, final_norm, lm_head;
  std::vector<LayerLayout> layers;
  size_t bytes = 0;
};

WeightsLayout make_layout(const ModelConfig& config, const Shard& shard);

}  // namespace m2
