// The paged KV cache of one rank: keys (after norm and rotation) and values, in fp32, bf16 or FP8
// e4m3 (of scale 1). A block holds block_tokens positions of one sequence, for every layer and
// head:
//   [layer][key or value][block][kv head][position][head_dim]
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/dtype.h"
#include "model/weights.h"

namespace m2 {

struct KvShape {
  int32_t num_layers = 0, num_blocks = 0, num_heads = 0, block_tokens = 0, head_dim = 0;
  DType dtype = DType::kF32;

  size_t row_bytes() const { return dtype_bytes(dtype) * head_dim; }  // of one position and head
  size_t head_bytes() const { return row_bytes() * block_tokens; }
  size_t plane_bytes() const { return head_bytes() * num_heads * num_blocks; }
  size_t bytes() const { return size_t{2} * num_layers * plane_bytes(); }
};

class KvCache {
 public:
  KvCache(const KvShape& shape, HostMemory memory) : shape_(shape), memory_(std::move(memory)) {}

  // [block_tokens, head_dim] of one block and head.
  std::byte* keys(int32_t layer, int32_t block, int32_t head) {
    return at(size_t{2} * layer, block, head);
  }
  std::byte* values(int32_t layer, int32_t block, int32_t head) {
    return at(size_t{2} * layer + 1, block, head);
  }

  DType dtype() const { return shape_.dtype; }
  // Stores one position's head_dim floats in a block; rounds to nearest even, FP8 saturates at 448.
  void store(const float* from, std::byte* block, int32_t position) const {
    std::byte* to = block + position * shape_.row_bytes();
    switch (shape_.dtype) {
      case DType::kBF16:
        std::transform(from, from + shape_.head_dim, reinterpret_cast<bf16_t*>(to), float_to_bf16);
        break;
      case DType::kF8E4M3:
        std::transform(from, from + shape_.head_dim, reinterpret_cast<f8_t*>(to), float_to_f8);
        break;
      default:
        std::copy_n(from, shape_.head_dim, reinterpret_cast<float*>(to));
    }
  }

 private:
  std::byte* at(size_t plane, size_t block, size_t head) {
    return memory_.data() + plane * shape_.plane_bytes() +
           (block * shape_.num_heads + head) * shape_.head_bytes();
  }

  const KvShape shape_;
  HostMemory memory_;
};

}  // namespace m2
