// The paged KV cache of one rank: fp32 keys (after norm and rotation) and values. A block holds
// block_tokens positions of one sequence, for every layer and head:
//   [layer][key or value][block][kv head][position][head_dim]
#pragma once

#include <cstdint>

#include "model/weights.h"

namespace m2 {

struct KvShape {
  int32_t num_layers = 0, num_blocks = 0, num_heads = 0, block_tokens = 0, head_dim = 0;

  int64_t head_floats() const { return int64_t{block_tokens} * head_dim; }
  int64_t plane_floats() const { return head_floats() * num_heads * num_blocks; }
  size_t bytes() const { return size_t{2} * num_layers * plane_floats() * sizeof(float); }
};

class KvCache {
 public:
  KvCache(const KvShape& shape, HostMemory memory) : shape_(shape), memory_(std::move(memory)) {}

  // [block_tokens, head_dim] of one block and head.
  float* keys(int32_t layer, int32_t block, int32_t head) {
    return at(2 * int64_t{layer}, block, head);
  }
  float* values(int32_t layer, int32_t block, int32_t head) {
    return at(2 * int64_t{layer} + 1, block, head);
  }

 private:
  float* at(int64_t plane, int32_t block, int32_t head) {
    return reinterpret_cast<float*>(memory_.data()) + plane * shape_.plane_floats() +
           (int64_t{block} * shape_.num_heads + head) * shape_.head_floats();
  }

  const KvShape shape_;
  HostMemory memory_;
};

}  // namespace m2
