// One rank's weights: views into one block of memory that the loader fills (model/shard.h says
// where each slice of the checkpoint goes).
//
// Layout, chosen for the ops: q, k and v are one matrix (rows q, then k, then v), gate and up of an
// expert are one matrix (rows w1, then w3), the experts of a layer lie one after another. Matrices
// are row-major and contiguous, [out, in] as in the checkpoint; every tensor starts at a multiple
// of kWeightAlignment. Norms, the router and its bias are fp32 whatever the file holds (bf16 widens
// exactly); embedding and lm_head are bf16; the other matrices are FP8 e4m3 with scales, or bf16.
//
// Thread-safety: written by the loader before any other thread looks, constant afterwards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/dtype.h"

namespace m2 {

struct ModelConfig;

// The part of the model that one rank holds (model/shard.h makes it).
struct Shard {
  int32_t rank = 0, size = 1;
  int32_t head_begin = 0, num_heads = 0;
  int32_t kv_head_begin = 0, num_kv_heads = 0;
  int32_t kv_replicas = 1;  // ranks that hold the same KV head; sums over ranks count it that often
  int64_t vocab_begin = 0, vocab_count = 0;  // rows of embedding and lm_head
  int64_t vocab_share = 0;                   // of the first ranks; the last ones may have fewer
  int32_t expert_begin = 0, num_experts = 0;
  int64_t expert_column_begin = 0, expert_columns = 0;  // of an expert's intermediate width
};

inline constexpr size_t kWeightAlignment = 256;
// A scale covers kScaleTile × kScaleTile weights. The checkpoint's blocks are 128 × 128, but a
// slice of a tensor-parallel rank may start in the middle of one (1536 / 8 = 192), so each block's
// scale is stored for its four quarters and no op needs to know where the slice began.
inline constexpr int64_t kScaleTile = 64;

constexpr int64_t scale_tiles(int64_t size) { return (size + kScaleTile - 1) / kScaleTile; }

// `count` matrices of the same shape, one after another (1, or the experts of a layer).
struct Matrix {
  const void* data = nullptr;     // [count, rows, columns] of dtype
  const float* scales = nullptr;  // [count, scale_tiles(rows), scale_tiles(columns)]; FP8 only
  DType dtype = DType::kF8E4M3;
  int64_t rows = 0, columns = 0, count = 1;

  int64_t scales_a_matrix() const { return scale_tiles(rows) * scale_tiles(columns); }
  size_t bytes() const { return static_cast<size_t>(count * rows * columns) * dtype_bytes(dtype); }
  // The index-th one alone.
  Matrix at(int64_t index) const {
    Matrix one = *this;
    one.count = 1;
    one.data = static_cast<const std::byte*>(data) + index * rows * columns * dtype_bytes(dtype);
    if (scales != nullptr) one.scales = scales + index * scales_a_matrix();
    return one;
  }
};

struct LayerWeights {
  const float* input_norm = nullptr;  // [hidden]
  Matrix qkv;                         // [(heads + 2 * kv_heads) * head_dim, hidden], this rank's
  const float* q_norm = nullptr;      // [heads * head_dim], this rank's slice
  const float* k_norm = nullptr;      // [kv_heads * head_dim], this rank's slice
  Matrix o_proj;                      // [hidden, heads * head_dim]
  const float* post_norm = nullptr;   // [hidden]
  const float* gate = nullptr;        // [num_experts, hidden], all of them on every rank
  const float* gate_bias = nullptr;   // [num_experts]; zeros when the model has none
  Matrix gate_up;                     // local experts × [2 * expert columns, hidden]
  Matrix down;                        // local experts × [hidden, expert columns]
};

struct Weights {
  Matrix embed;                       // [vocab rows of this rank, hidden], bf16
  std::vector<LayerWeights> layers;   // [num_layers]
  const float* final_norm = nullptr;  // [hidden]
  Matrix lm_head;                     // [vocab rows of this rank, hidden], bf16
};

// Bytes that one rank's weights take.
size_t weights_bytes(const ModelConfig& config, const Shard& shard);

// The views over a block of weights_bytes() at `base` (host or device; not read here).
Weights weights_at(const ModelConfig& config, const Shard& shard, const void* base);

// Zero-filled host memory for weights, in huge pages where the system grants them.
class HostMemory {
 public:
  HostMemory() = default;
  explicit HostMemory(size_t bytes);  // data() is null when the system refuses
  ~HostMemory();
  HostMemory(HostMemory&& other) noexcept;
  HostMemory& operator=(HostMemory&& other) noexcept;

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace m2
