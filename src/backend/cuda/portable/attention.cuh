// Causal attention over the paged cache, both products on the tensor cores, softmax in fp32 with a
// running maximum. A warp works on 16 queries of one KV head: the head's group of query heads for
// consecutive tokens, token by token.
//
//   prefill  8 warps of a block take 128 queries, and all of them the same keys, through shared
//            memory (attention_prefill.cu)
//   decode   rows of one token: a block takes one row and KV head and a share of its keys, its
//            warps shares of that; the block that is last joins the shares, of a lone row those of
//            whole clusters (attention.cu)
//   fused    the same for steps of such rows alone: q and k are normed and rotated, and the new key
//            and value stored, by the blocks that need them
#pragma once

#include "backend/cuda/portable/kv_cache.cuh"

namespace m2::cuda {

// Queries of one row of the step, for a block.
struct AttentionItem {
  int32_t row = 0, first_query = 0;  // query = token of the row * group + head in the group
};
inline constexpr int32_t kItemQueries = 128;
inline constexpr int32_t kMaxGroup = 16;  // query heads a KV head

// What the fused form does before attention; as qk_norm.cuh.
struct FusedNorm {
  const float* qkv = nullptr;        // [tokens, q + 2 * kv]; null: q holds the queries already
  const float* squares = nullptr;    // [tokens, (q + 2 * kv) / 16] sums of its squares
  const float* q_norm = nullptr;     // [q]
  const float* k_norm = nullptr;     // [kv]
  const float2* rotation = nullptr;  // [tokens, half]
  int32_t half = 0;
  float epsilon = 0;
};

// Prefill: 4 * queries * keys * head_dim flops a head. Decode: 4 * keys * head_dim bytes a KV head.
struct AttentionArgs {
  const bf16_t* q = nullptr;  // [tokens, heads * head_dim]
  KvPlanes kv;                // of the layer
  const RowInfo* rows = nullptr;
  const int32_t* blocks = nullptr;
  int32_t num_heads = 0;
  float scale = 0;               // 1 / sqrt(head_dim)
  uint16_t* attended = nullptr;  // [tokens, heads * head_dim] f16 or bf16
  bool f16 = false;

  const AttentionItem* items = nullptr;  // prefill: [num_items]
  int32_t num_items = 0;
  const int32_t* decode_rows = nullptr;  // decode: [num_decode_rows]
  int32_t num_decode_rows = 0;
  // Blocks for the keys of a decode row and KV head; a short row leaves some of them idle.
  int32_t shares = 1;
  float* partial = nullptr;   // [decode rows, heads, shares, head_dim] unscaled sums
  float2* softmax = nullptr;  // [decode rows, heads, shares] maximum and sum
  int32_t* done = nullptr;    // [decode rows, kv heads] shares that are done; 0 before and after
  bool apart = false;         // no row reads what another row of the step stores
  FusedNorm fused;            // only with that
};
void launch_attention(const AttentionArgs& args, const Queue& queue);
void launch_prefill_attention(const AttentionArgs& args, const Queue& queue);  // of the items

// Blocks for the keys of one decode row and KV head, from the sizes of the step alone.
int32_t attention_shares(int32_t decode_rows, int32_t kv_heads, int32_t multiprocessors);
inline constexpr int32_t kMaxShares = 32;
// The most that decode_rows * attention_shares() is at up to so many rows; a device with more
// multiprocessors than this is used as one of so many.
inline constexpr int32_t kMostMultiprocessors = 256;
constexpr int64_t most_attention_shares(int32_t decode_rows, int32_t kv_heads) {
  const int32_t resident = divide_up(int64_t{2} * kMostMultiprocessors, kv_heads);
  return decode_rows > resident ? decode_rows : resident;
}

}  // namespace m2::cuda
