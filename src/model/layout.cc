#include "model/layout.h"

#include "model/config.h"
#include "model/shard.h"
#include "model/weights.h"

namespace m2 {
namespace {

size_t aligned(size_t bytes) {
  return (bytes + kWeightAlignment - 1) / kWeightAlignment * kWeightAlignment;
}

// Hands out consecutive places.
class Allocator {
 public:
  explicit Allocator(bool fp8) : quantised_(fp8 ? DType::kF8E4M3 : DType::kBF16) {}

  Place take(DType dtype, int64_t rows, int64_t columns, int64_t count = 1) {
    Place place{.offset = bytes_, .dtype = dtype, .rows = rows, .columns = columns, .count = count};
    bytes_ = aligned(bytes_ + place.matrix_bytes() * count);
    if (dtype == DType::kF8E4M3) {
      place.scale_offset = bytes_;
      bytes_ = aligned(bytes_ + scale_tiles(rows) * scale_tiles(columns) * count * sizeof(float));
    }
    return place;
  }
  Place vector(int64_t size) { return take(DType::kF32, 1, size); }
  Place linear(int64_t rows, int64_t columns, int64_t count = 1) {
    return take(quantised_, rows, columns, count);
  }
  size_t bytes() const { return bytes_; }

 private:
  const DType quantised_;
  size_t bytes_ = 0;
};

}  // namespace

size_t Place::row_offset(int64_t index, int64_t row) const {
  return offset + (index * rows + row) * columns * dtype_bytes(dtype);
}

size_t Place::row_scale_offset(int64_t index, int64_t row) const {
  const int64_t tile_row = index * scale_tiles(rows) + row / kScaleTile;
  return scale_offset + tile_row * scale_tiles(columns) * sizeof(float);
}

WeightsLayout make_layout(const ModelConfig& config, const Shard& shard) {
  const int64_t hidden = config.hidden_size;
  const int64_t q_rows = int64_t{shard.num_heads} * config.head_dim;
  const int64_t kv_rows = int64_t{shard.num_kv_heads} * config.head_dim;
  Allocator memory(config.fp8());
  WeightsLayout layout;
  layout.embed = memory.take(DType::kBF16, shard.vocab_count, hidden);
  for (int32_t i = 0; i < config.num_layers; ++i) {
    LayerLayout& layer = layout.layers.emplace_back();
    layer.input_norm = memory.vector(hidden);
    layer.qkv = memory.linear(q_rows + 2 * kv_rows, hidden);
    layer.q_norm = memory.vector(q_rows);
    layer.k_norm = memory.vector(kv_rows);
    layer.o_proj = memory.linear(hidden, q_rows);
    layer.post_norm = memory.vector(hidden);
    layer.gate = memory.take(DType::kF32, config.num_experts, hidden);
    layer.gate_bias = memory.vector(config.num_experts);
    layer.gate_up = memory.linear(2 * shard.expert_columns, hidden, shard.num_experts);
    layer.down = memory.linear(hidden, shard.expert_columns, shard.num_experts);
  }
  layout.final_norm = memory.vector(hidden);
  layout.lm_head = memory.take(DType::kBF16, shard.vocab_count, hidden);
  layout.bytes = memory.bytes();
  return layout;
}

}  // namespace m2
