// Attention: RMS norm of q and k over all heads, rotation of the first rotary_dim dimensions, KV
// store, causal attention over the paged cache.
#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/cpu/cpu_ops.h"
#include "base/divide_up.h"
#include "parallel/communicator.h"

namespace m2 {
namespace {
constexpr int64_t kTokensAnItem = 4;
}  // namespace

void CpuOps::attention(int32_t layer, const float* q_norm, const float* k_norm,
                       Communicator& communicator) {
  sum_squares(communicator);
  norm_rotate_store(layer, q_norm, k_norm);
  pool_.for_each(std::ssize(attention_items_), [&](int64_t item, int32_t thread) {
    attend(layer, attention_items_[item], scratch_[thread]);
  });
}

// The norm spans the heads of all ranks, so its sums of squares cross them: one fp32 pair a token.
void CpuOps::sum_squares(Communicator& communicator) {
  pool_.for_each(divide_up(tokens_, kTokensAnItem), [&](int64_t item, int32_t) {
    const int64_t end = std::min(tokens_, (item + 1) * kTokensAnItem);
    for (int64_t t = item * kTokensAnItem; t < end; ++t) {
      const float* q = qkv_ + t * qkv_width();
      squares_[2 * t] = kernels_.sum_of_squares(q, q_width());
      squares_[2 * t + 1] = kernels_.sum_of_squares(q + q_width(), kv_width());
    }
  });
  if (shard_.size > 1) communicator.all_reduce_sum(squares_, 2 * tokens_);
}

void CpuOps::norm_rotate_store(int32_t layer, const float* q_norm, const float* k_norm) {
  const int64_t head = config_.head_dim;
  // Ranks' slices are equally wide, and KV heads held twice are summed twice: so the mean is over
  // the local width times the ranks in both cases.
  const float q_count = static_cast<float>(q_width() * shard_.size);
  const float k_count = static_cast<float>(kv_width() * shard_.size);
  pool_.for_each(divide_up(tokens_, kTokensAnItem), [&](int64_t item, int32_t) {
    const int64_t end = std::min(tokens_, (item + 1) * kTokensAnItem);
    for (int64_t t = item * kTokensAnItem; t < end; ++t) {
      float* q = qkv_ + t * qkv_width();
      float* k = q + q_width();
      const float q_factor = 1.0f / std::sqrt(squares_[2 * t] / q_count + config_.rms_norm_eps);
      const float k_factor = 1.0f / std::sqrt(squares_[2 * t + 1] / k_count + config_.rms_norm_eps);
      kernels_.scale(q, q_factor, q_norm, q_width(), q);
      kernels_.scale(k, k_factor, k_norm, kv_width(), k);
      for (int64_t i = 0; i < shard_.num_heads + shard_.num_kv_heads; ++i) rotate(q + i * head, t);
      store(layer, t);
    }
  });
}

// Rotates pairs (i, i + half) of one head by the token's position; the rest passes through.
void CpuOps::rotate(float* head, int64_t token) const {
  const int64_t half = config_.rotary_dim / 2;
  const float* cosines = cos_ + token * half;
  const float* sines = sin_ + token * half;
  for (int64_t i = 0; i < half; ++i) {
    const float a = head[i], b = head[i + half];
    head[i] = a * cosines[i] - b * sines[i];
    head[i + half] = b * cosines[i] + a * sines[i];
  }
}

void CpuOps::store(int32_t layer, int64_t token) {
  const int64_t head = config_.head_dim;
  const int32_t position = position_[token];
  const BatchRow& row = batch_.rows[token_row_[token]];
  const int32_t block = row.blocks[position / limits_.block_tokens];
  const int32_t in_block = position % limits_.block_tokens;
  const float* k = qkv_ + token * qkv_width() + q_width();
  for (int32_t i = 0; i < shard_.num_kv_heads; ++i) {
    kv_->store(k + i * head, kv_->keys(layer, block, i), in_block);
    kv_->store(k + kv_width() + i * head, kv_->values(layer, block, i), in_block);
  }
}

// Cuts the step's queries into items: as many tokens of one row as share a pass over its keys.
void CpuOps::plan_attention() {
  const int32_t group = shard_.num_heads / shard_.num_kv_heads;
  const int32_t tokens = std::max(1, kQueryBlock / group);
  attention_items_.clear();
  for (int32_t r = 0; r < std::ssize(batch_.rows); ++r) {
    const BatchRow& row = batch_.rows[r];
    for (int32_t first = 0; first < row.num_tokens; first += tokens) {
      for (int32_t head = 0; head < shard_.num_kv_heads; ++head) {
        attention_items_.push_back({r, head, first, std::min(tokens, row.num_tokens - first)});
      }
    }
  }
}

void CpuOps::attend(int32_t layer, const AttentionItem& item, const ThreadScratch& scratch) {
  const BatchRow& row = batch_.rows[item.row];
  const int32_t group = shard_.num_heads / shard_.num_kv_heads;
  const int64_t head_dim = config_.head_dim;
  const int32_t num_queries = item.num_tokens * group;
  QueryState state[kQueryBlock];
  for (int32_t i = 0; i < num_queries; ++i) {
    const int64_t token = row.first_token + item.first_token + i / group;
    const int64_t offset = (int64_t{item.head} * group + i % group) * head_dim;
    state[i].query = qkv_ + token * qkv_width() + offset;
    state[i].position = position_[token];
    state[i].merged = attended_ + token * q_width() + offset;
    state[i].partial = scratch.merged + i * head_dim;
  }
  const int32_t last = state[num_queries - 1].position;
  for (int32_t begin = 0; begin <= last; begin += kChunkTokens) {
    // Later tokens come later: those that do not see the chunk at all are the first ones.
    int32_t first = 0;
    while (state[first].position < begin) ++first;
    attend_chunk(layer, item.head, row, begin, {state + first, state + num_queries}, scratch);
  }
  for (int32_t i = 0; i < num_queries; ++i) {
    const float inverse = kernels_.input_scale / state[i].sum;  // o_proj's input
    for (int64_t d = 0; d < head_dim; ++d) state[i].merged[d] *= inverse;
  }
}

const float* CpuOps::widened(const std::byte* rows, int32_t count, float* scratch) const {
  if (kv_->dtype() == DType::kF32) return reinterpret_cast<const float*>(rows);
  kernels_.widen(kv_->dtype(), rows, int64_t{count} * config_.head_dim, scratch);
  return scratch;
}

void CpuOps::attend_chunk(int32_t layer, int32_t head, const BatchRow& row, int32_t begin,
                          std::span<QueryState> queries, const ThreadScratch& scratch) {
  const float* keys[kChunkTokens];
  const float* values[kChunkTokens];
  const float* query[kQueryBlock];
  float* partial[kQueryBlock];
  int32_t visible[kQueryBlock];
  float largest[kQueryBlock], sum[kQueryBlock];
  const int32_t end = std::min(begin + kChunkTokens, queries.back().position + 1);
  for (int32_t position = begin, i = 0; position < end; position += limits_.block_tokens, ++i) {
    const int32_t block = row.blocks[position / limits_.block_tokens];
    const int32_t count = std::min(limits_.block_tokens, end - position);
    const int64_t offset = int64_t{position - begin} * config_.head_dim;
    keys[i] = widened(kv_->keys(layer, block, head), count, scratch.keys + offset);
    values[i] = widened(kv_->values(layer, block, head), count, scratch.values + offset);
  }
  for (size_t i = 0; i < queries.size(); ++i) {
    query[i] = queries[i].query;
    partial[i] = queries[i].partial;
    visible[i] = std::min(kChunkTokens, queries[i].position + 1 - begin);
  }
  kernels_.attend({.keys = keys,
                   .values = values,
                   .block_tokens = limits_.block_tokens,
                   .head_dim = config_.head_dim,
                   .num_queries = static_cast<int32_t>(queries.size()),
                   .queries = query,
                   .visible = visible,
                   .scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim)),
                   .scores = scratch.scores,
                   .largest = largest,
                   .sum = sum,
                   .weighted = partial});
  for (size_t i = 0; i < queries.size(); ++i) merge(queries[i], begin == 0, largest[i], sum[i]);
}

// Joins a chunk's result to those of the chunks before it, on the larger of the two scales.
void CpuOps::merge(QueryState& query, bool first, float largest, float sum) const {
  const int64_t head_dim = config_.head_dim;
  if (first) {
    query.largest = largest;
    query.sum = sum;
    std::copy_n(query.partial, head_dim, query.merged);
    return;
  }
  const float joint = std::max(query.largest, largest);
  const float old_factor = std::exp(query.largest - joint), factor = std::exp(largest - joint);
  query.largest = joint;
  query.sum = query.sum * old_factor + sum * factor;
  for (int64_t d = 0; d < head_dim; ++d) {
    query.merged[d] = query.merged[d] * old_factor + query.partial[d] * factor;
  }
}

}  // namespace m2
