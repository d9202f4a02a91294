#include "engine/kv_blocks.h"

#include <algorithm>

#include "base/check.h"

namespace m2 {

KvBlocks::KvBlocks(const Capacity& capacity, bool prefix_caching, uint64_t cache_key)
    : block_tokens_(capacity.block_tokens),
      blocks_a_slot_(blocks_for(capacity.max_model_tokens)),
      prefix_caching_(prefix_caching),
      pool_(capacity.num_blocks),
      cache_(capacity.num_blocks, capacity.block_tokens, cache_key),
      tables_(static_cast<size_t>(capacity.max_sequences) * blocks_a_slot_),
      matched_(blocks_a_slot_) {}

std::span<const int32_t> KvBlocks::table(const Sequence& sequence) const {
  return {tables_.data() + static_cast<size_t>(sequence.slot) * blocks_a_slot_,
          static_cast<size_t>(sequence.num_blocks)};
}

std::span<int32_t> KvBlocks::slot_table(int32_t slot) {
  return {tables_.data() + static_cast<size_t>(slot) * blocks_a_slot_,
          static_cast<size_t>(blocks_a_slot_)};
}

std::span<const TokenId> KvBlocks::block_of(const Sequence& sequence, int32_t block) const {
  return std::span(sequence.tokens)
      .subspan(static_cast<size_t>(block) * block_tokens_, block_tokens_);
}

PrefixMatch KvBlocks::match(const Sequence& sequence, bool may_read) {
  PrefixMatch match{0, 0, cache_.root(sequence.request.cache_salt)};
  if (!prefix_caching_ || !may_read) return match;
  const int32_t most = (sequence.known() - 1) / block_tokens_;
  while (match.blocks < most) {
    const std::span<const TokenId> tokens = block_of(sequence, match.blocks);
    const BlockKey key = cache_.child(match.key, tokens);
    const int32_t block = cache_.find(key, tokens);
    if (block < 0) break;
    matched_[match.blocks++] = block;
    match.unreferenced += pool_.references(block) == 0;
    match.key = key;
  }
  return match;
}

void KvBlocks::adopt(Sequence& sequence, const PrefixMatch& match) {
  M2_CHECK(sequence.slot >= 0 && sequence.num_blocks == 0);
  const std::span<int32_t> table = slot_table(sequence.slot);
  for (int32_t i = 0; i < match.blocks; ++i) {
    pool_.reference(matched_[i]);
    table[i] = matched_[i];
  }
  sequence.num_blocks = sequence.hashed_blocks = match.blocks;
  sequence.chain_key = match.key;
  sequence.computed = match.blocks * block_tokens_;
}

void KvBlocks::extend(Sequence& sequence, int32_t tokens) {
  const int32_t wanted = blocks_for(tokens);
  const std::span<int32_t> table = slot_table(sequence.slot);
  while (sequence.num_blocks < wanted) {
    const int32_t block = pool_.take();
    M2_CHECK(block >= 0, "no KV block left");
    cache_.forget(block);
    table[sequence.num_blocks++] = block;
  }
}

void KvBlocks::release(Sequence& sequence) {
  const std::span<int32_t> table = slot_table(sequence.slot);
  // The last block first: it is then the first to be reused, and a prefix outlives what follows it.
  for (int32_t i = sequence.num_blocks - 1; i >= 0; --i) {
    pool_.release(table[i], cache_.holds(table[i]));
  }
  sequence.num_blocks = sequence.hashed_blocks = 0;
}

void KvBlocks::hash_blocks(Sequence& sequence, int32_t written) {
  if (!prefix_caching_) return;
  const std::span<int32_t> table = slot_table(sequence.slot);
  for (; (sequence.hashed_blocks + 1) * block_tokens_ <= written; ++sequence.hashed_blocks) {
    const std::span<const TokenId> tokens = block_of(sequence, sequence.hashed_blocks);
    sequence.chain_key = cache_.child(sequence.chain_key, tokens);
    // A block with the same content may be held already; this one then stays the sequence's own.
    cache_.insert(sequence.chain_key, tokens, table[sequence.hashed_blocks]);
  }
}

void KvBlocks::check_invariants(std::span<Sequence* const> running) const {
  pool_.check_invariants();
  cache_.check_invariants();
  std::vector<int32_t> references(pool_.total(), 0);
  for (const Sequence* sequence : running) {
    M2_CHECK(blocks_for(sequence->computed) <= sequence->num_blocks);
    const std::span<const int32_t> blocks = table(*sequence);
    for (int32_t i = 0; i < sequence->num_blocks; ++i) {
      ++references[blocks[i]];
      if (!cache_.holds(blocks[i])) continue;
      M2_CHECK(i < sequence->hashed_blocks, "a held block is still being written");
      M2_CHECK(std::ranges::equal(cache_.tokens(blocks[i]), block_of(*sequence, i)),
               "block {} holds other tokens than its sequence", blocks[i]);
    }
  }
  int32_t free = 0, cached = 0, used = 0;
  for (int32_t block = 0; block < pool_.total(); ++block) {
    M2_CHECK(references[block] == pool_.references(block), "block {}: {} tables, {} references",
             block, references[block], pool_.references(block));
    ++(references[block] > 0 ? used : cache_.holds(block) ? cached : free);
  }
  M2_CHECK(free + cached + used == total() && free + cached == available());
}

}  // namespace m2
