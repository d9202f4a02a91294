// The paged KV cache in bf16 or FP8 e4m3 (of scale 1), one plane of keys and one of values a layer:
//   keys    [block][kv head][position][head_dim]
//   values  [block][kv head][position / 16][head_dim][position % 16]
// Values lie transposed in groups of 16 positions, because the second product of attention sums
// over positions: a tensor core's lane then finds its operand in consecutive bytes.
#pragma once

#include "backend/cuda/portable/device.cuh"

#ifdef __CUDACC__
#include <cuda_fp8.h>
#endif

namespace m2::cuda {

inline constexpr int32_t kKeyGroup = 16;  // blocks are whole groups

struct KvPlanes {
  void* keys = nullptr;    // of one layer
  void* values = nullptr;  // likewise
  int32_t num_heads = 0, block_tokens = 0, head_dim = 0;
  bool fp8 = false;

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
  // Returns what loading will give.
  __device__ bf16_t store(void* plane, int64_t at, float x) const {
    if (!fp8) return static_cast<bf16_t*>(plane)[at] = to_bf16(x);
    const uint8_t rounded = __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3);
    static_cast<uint8_t*>(plane)[at] = rounded;
    return static_cast<bf16_t>(widen_bf16_low(rounded));
  }
#endif
};

#ifdef __CUDACC__

// Consecutive elements of a plane, widened to bf16: exactly.
__device__ inline uint4 load_eight(const bf16_t* from) {
  return *reinterpret_cast<const uint4*>(from);
}
__device__ inline uint4 load_eight(const uint8_t* from) {
  const uint2 raw = *reinterpret_cast<const uint2*>(from);
  return {widen_bf16_low(raw.x), widen_bf16_high(raw.x), widen_bf16_low(raw.y),
          widen_bf16_high(raw.y)};
}
__device__ inline uint2 load_four(const bf16_t* from) {
  return *reinterpret_cast<const uint2*>(from);
}
__device__ inline uint2 load_four(const uint8_t* from) {
  const uint32_t raw = *reinterpret_cast<const uint32_t*>(from);
  return {widen_bf16_low(raw), widen_bf16_high(raw)};
}

#endif

}  // namespace m2::cuda
