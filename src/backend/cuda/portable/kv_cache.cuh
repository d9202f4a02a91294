// The paged KV cache in bf16, one plane of keys and one of values a layer:
//   keys    [block][kv head][position][head_dim]
//   values  [block][kv head][position / 16][head_dim][position % 16]
// Values lie transposed in groups of 16 positions, because the second product of attention sums
// over positions: a tensor core's lane then finds its operand in consecutive bytes.
#pragma once

#include "backend/cuda/portable/device.cuh"

namespace m2::cuda {

inline constexpr int32_t kKeyGroup = 16;  // blocks are whole groups

struct KvPlanes {
  bf16_t* keys = nullptr;    // of one layer
  bf16_t* values = nullptr;  // likewise
  int32_t num_heads = 0, block_tokens = 0, head_dim = 0;

#ifdef __CUDACC__
  // Element offset of one block and head in either plane.
  __device__ int64_t head_at(int32_t block, int32_t head) const {
    return (int64_t{block} * num_heads + head) * block_tokens * head_dim;
  }
  // Element offset of the group that holds `position`, given the sequence's blocks.
  __device__ int64_t group_at(const int32_t* blocks, int32_t position, int32_t head) const {
    const int32_t within = position % block_tokens;
    return head_at(blocks[position / block_tokens], head) +
           int64_t{within / kKeyGroup} * kKeyGroup * head_dim;
  }
#endif
};

}  // namespace m2::cuda
