#include "engine/executor.h"

namespace m2 {

StepPlan::StepPlan(const Capacity& capacity) {
  const int64_t blocks_a_sequence =
      (capacity.max_model_tokens + capacity.block_tokens - 1) / capacity.block_tokens;
  // Block tables of a step never hold more than every row at its longest, nor, block sharing aside,
  // usefully more than the pool many times over; the first bound is the safe one.
  Header first{};
  first.max_rows = capacity.max_sequences;
  first.max_tokens = capacity.max_step_tokens;
  first.max_blocks = static_cast<int32_t>(blocks_a_sequence * capacity.max_sequences);
  bytes_.resize(sizeof(Header) + first.max_rows * sizeof(StepRow) +
                (static_cast<size_t>(first.max_tokens) + first.max_blocks) * sizeof(int32_t));
  header() = first;
}

void StepPlan::clear() {
  Header& h = header();
  h.step = 0;
  h.num_rows = h.num_tokens = h.num_blocks = 0;
}

StepRow& StepPlan::add_row() {
  Header& h = header();
  M2_CHECK(h.num_rows < h.max_rows);
  return reinterpret_cast<StepRow*>(bytes_.data() + rows_offset())[h.num_rows++];
}

std::span<TokenId> StepPlan::add_tokens(int32_t count) {
  Header& h = header();
  M2_CHECK(count >= 0 && h.num_tokens + count <= h.max_tokens);
  auto* first = reinterpret_cast<TokenId*>(bytes_.data() + tokens_offset()) + h.num_tokens;
  h.num_tokens += count;
  return {first, static_cast<size_t>(count)};
}

std::span<int32_t> StepPlan::add_blocks(int32_t count) {
  Header& h = header();
  M2_CHECK(count >= 0 && h.num_blocks + count <= h.max_blocks);
  auto* first = reinterpret_cast<int32_t*>(bytes_.data() + blocks_offset()) + h.num_blocks;
  h.num_blocks += count;
  return {first, static_cast<size_t>(count)};
}

std::span<const StepRow> StepPlan::rows() const {
  return {reinterpret_cast<const StepRow*>(bytes_.data() + rows_offset()),
          static_cast<size_t>(header().num_rows)};
}

std::span<const TokenId> StepPlan::tokens() const {
  return {reinterpret_cast<const TokenId*>(bytes_.data() + tokens_offset()),
          static_cast<size_t>(header().num_tokens)};
}

std::span<const int32_t> StepPlan::blocks() const {
  return {reinterpret_cast<const int32_t*>(bytes_.data() + blocks_offset()),
          static_cast<size_t>(header().num_blocks)};
}

}  // namespace m2
