// The experts: router, grouping of tokens by expert, gate/up, SiLU, down.
#include <algorithm>

#include "backend/cpu/cpu_ops.h"
#include "backend/cpu/router.h"
#include "base/divide_up.h"
#include "parallel/communicator.h"

namespace m2 {

void CpuOps::norm_route(const float* norm, const float* gate) {
  norm_rows(norm, normed_);
  const Matrix router{.data = gate,
                      .scales = nullptr,
                      .dtype = DType::kF32,
                      .rows = config_.num_experts,
                      .columns = config_.hidden_size};
  project(router, normed_, tokens_, router_, config_.num_experts);
}

void CpuOps::experts_add(const float* gate_bias, const Matrix& gate_up, const Matrix& down,
                         Communicator& communicator) {
  route(gate_bias);
  group_pairs();
  const int64_t columns = shard_.expert_columns;
  const int64_t rows = rows_an_item(columns * std::max<int64_t>(1, num_active_), pool_.threads());
  const int64_t items = divide_up(columns, rows);
  pool_.for_each(num_active_ * items, [&](int64_t item, int32_t thread) {
    const int64_t begin = item % items * rows;
    gate_up_rows(gate_up, active_experts_[item / items], begin, std::min(columns, begin + rows),
                 scratch_[thread]);
  });
  const int64_t hidden = config_.hidden_size;
  const int64_t out_rows = rows_an_item(hidden, pool_.threads());
  pool_.for_each(divide_up(hidden, out_rows), [&](int64_t item, int32_t thread) {
    const int64_t begin = item * out_rows;
    down_rows(down, begin, std::min(hidden, begin + out_rows), scratch_[thread]);
  });
  if (shard_.size > 1) add_partial(communicator);
}

void CpuOps::route(const float* gate_bias) {
  constexpr int64_t kTokensAnItem = 8;
  const int32_t count = config_.experts_per_token;
  pool_.for_each(divide_up(tokens_, kTokensAnItem), [&](int64_t item, int32_t) {
    const int64_t end = std::min(tokens_, (item + 1) * kTokensAnItem);
    for (int64_t t = item * kTokensAnItem; t < end; ++t) {
      choose_experts(router_ + t * config_.num_experts, gate_bias, config_.num_experts, count,
                     chosen_ + t * count, weights_ + t * count);
    }
  });
}

// Groups the (token, expert) pairs of this rank's experts by expert, tokens in order within each.
void CpuOps::group_pairs() {
  const int64_t pairs = tokens_ * config_.experts_per_token;
  const auto local = [&](int64_t i) { return chosen_[i] - shard_.expert_begin; };
  const auto is_local = [&](int32_t e) { return e >= 0 && e < shard_.num_experts; };
  std::fill_n(pair_begin_, shard_.num_experts + 1, 0);
  for (int64_t i = 0; i < pairs; ++i) {
    if (is_local(local(i))) ++pair_begin_[local(i) + 1];
  }
  num_active_ = 0;
  for (int32_t e = 0; e < shard_.num_experts; ++e) {
    if (pair_begin_[e + 1] > 0) active_experts_[num_active_++] = e;
    pair_begin_[e + 1] += pair_begin_[e];
  }
  // pair_begin_[e] is moved to the end of e's group while it is filled, and then back by one place.
  for (int64_t i = 0; i < pairs; ++i) {
    if (!is_local(local(i))) continue;
    const auto token = static_cast<int32_t>(i / config_.experts_per_token);
    pairs_[pair_begin_[local(i)]++] = {token, weights_[i]};
  }
  std::copy_backward(pair_begin_, pair_begin_ + shard_.num_experts,
                     pair_begin_ + shard_.num_experts + 1);
  pair_begin_[0] = 0;
}

// activated[pair] = silu(w1 x) * (w3 x), for columns [begin, end) of one expert.
void CpuOps::gate_up_rows(const Matrix& gate_up, int32_t expert, int64_t begin, int64_t end,
                          const ThreadScratch& scratch) {
  const Matrix w = gate_up.at(expert);
  const int64_t columns = shard_.expert_columns, width = config_.hidden_size;
  float* gate = scratch.tile;
  float* up = scratch.tile + int64_t{kTokenBlock} * kRowBlock;
  const float* x[kTokenBlock] = {};
  for (int64_t pair = pair_begin_[expert]; pair < pair_begin_[expert + 1]; pair += kTokenBlock) {
    const int64_t count = std::min<int64_t>(kTokenBlock, pair_begin_[expert + 1] - pair);
    for (int64_t i = 0; i < count; ++i) x[i] = normed_ + pairs_[pair + i].token * width;
    kernels_.matmul(w, begin, end, x, count, gate, kRowBlock, scratch.matmul);
    kernels_.matmul(w, columns + begin, columns + end, x, count, up, kRowBlock, scratch.matmul);
    for (int64_t i = 0; i < count; ++i) {
      kernels_.silu_multiply(gate + i * kRowBlock, up + i * kRowBlock, end - begin,
                             activated_ + (pair + i) * columns + begin);
    }
  }
}

// partial[token] = the weighted sum of down * activated over the token's experts, in rising order
// of expert, for hidden columns [begin, end); alone, hidden += that.
void CpuOps::down_rows(const Matrix& down, int64_t begin, int64_t end,
                       const ThreadScratch& scratch) {
  const int64_t columns = shard_.expert_columns, width = config_.hidden_size;
  for (int64_t t = 0; t < tokens_; ++t) {
    std::fill(partial_ + t * width + begin, partial_ + t * width + end, 0.0f);
  }
  const float* x[kTokenBlock] = {};
  for (int64_t active = 0; active < num_active_; ++active) {
    const int32_t e = active_experts_[active];
    const Matrix w = down.at(e);
    for (int64_t pair = pair_begin_[e]; pair < pair_begin_[e + 1]; pair += kTokenBlock) {
      const int64_t count = std::min<int64_t>(kTokenBlock, pair_begin_[e + 1] - pair);
      for (int64_t i = 0; i < count; ++i) x[i] = activated_ + (pair + i) * columns;
      kernels_.matmul(w, begin, end, x, count, scratch.tile, kRowBlock, scratch.matmul);
      for (int64_t i = 0; i < count; ++i) {
        kernels_.add_scaled(pairs_[pair + i].weight, scratch.tile + i * kRowBlock, end - begin,
                            partial_ + pairs_[pair + i].token * width + begin);
      }
    }
  }
  if (shard_.size > 1) return;
  for (int64_t t = 0; t < tokens_; ++t) {
    kernels_.add_scaled(1.0f, partial_ + t * width + begin, end - begin,
                        hidden_ + t * width + begin);
  }
}

}  // namespace m2
