// Which part of the model a rank holds, and which slice of which checkpoint tensor goes where in
// its weights. The only place that knows both the checkpoint's names and the layout of weights.h.
//
// Tensor parallel: q/k/v, w1, w3 by rows; o_proj, w2 by columns; embedding and lm_head by rows of
// the vocabulary; norms, router and bias are whole on every rank, but q_norm and k_norm are sliced
// with the heads. With expert parallel a rank holds whole experts, contiguous, instead of a slice
// of each. Slices of experts start at multiples of 64 (kScaleTile), so 1536 / 8 = 192 is legal.
//
// Thread-safety: plain values and pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/error.h"
#include "model/weights.h"

namespace m2 {

struct ModelConfig;

struct Parallelism {
  int32_t tensor_parallel = 1;   // 1, 2, 4 or 8
  bool expert_parallel = false;  // whole experts, not slices of each, are spread over the ranks
};

// Refuses sizes that are not served or do not divide, naming the numbers and the legal sizes.
Result<Shard> make_shard(const ModelConfig& config, const Parallelism& parallelism, int32_t rank);

enum class SliceFormat : uint8_t {
  kQuantised,  // FP8 with a "<name>_scale_inv" beside it, or bf16 in a bf16 checkpoint: as stored
  kBF16,       // embedding, lm_head: kept in bf16
  kF32,        // norms, router, bias: F32 or BF16 in the file, fp32 in the weights
};

// A slice of one checkpoint tensor and its place. A vector is one row.
//
// The destination is row-major and contiguous, row_count × column_count, at `offset` bytes from the
// start of the rank's weights. For FP8 the scales of the slice go to `scale_offset`: a row-major
// fp32 table of scale_tiles(row_count) × scale_tiles(column_count), where
// tile (i, j) = scale_inv[(row_begin + 64 * i) / 128][(column_begin + 64 * j) / 128].
struct TensorSlice {
  std::string name;  // e.g. "model.layers.0.self_attn.q_proj.weight"
  SliceFormat format = SliceFormat::kQuantised;
  bool is_vector = false;         // its shape in the file is [columns], otherwise [rows, columns]
  int64_t rows = 1, columns = 0;  // of the whole tensor in the file
  int64_t row_begin = 0, row_count = 1;
  int64_t column_begin = 0, column_count = 0;
  size_t offset = 0;        // bytes
  size_t scale_offset = 0;  // bytes; kQuantised in an FP8 checkpoint only
};

// Every tensor that the rank reads. Under expert parallel the other
// ranks' experts are not among them.
std::vector<TensorSlice> tensor_slices(const ModelConfig& config, const Shard& shard);

// Every tensor that a complete checkpoint holds, with whole shapes: what the loader checks a file
// against whatever the rank reads of it. Scales are not listed: each kQuantised tensor of an FP8
// checkpoint has one of [ceil(rows / 128), ceil(columns / 128)].
std::vector<TensorSlice> checkpoint_tensors(const ModelConfig& config);

}  // namespace m2
