// Which KV blocks each running sequence holds. Joins the block pool (what is referenced) with the
// prefix cache (what is held) and the block tables of the slots.
//
// Thread-safety: one owner. Nothing allocates after construction.
// Invariants: free + cached + used blocks are all blocks; a sequence's table covers its computed
// tokens; a block that two sequences share is full and never written again.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/block_pool.h"
#include "engine/executor.h"
#include "engine/prefix_cache.h"
#include "engine/sequence.h"

namespace m2 {

// The longest held prefix of a sequence's tokens.
struct PrefixMatch {
  int32_t blocks = 0;
  int32_t unreferenced = 0;  // of them, blocks that nobody references: they leave the free count
  BlockKey key;              // of the last block, or the root
};

class KvBlocks {
 public:
  KvBlocks(const Capacity& capacity, bool prefix_caching, uint64_t cache_key);

  int32_t blocks_for(int32_t tokens) const { return (tokens + block_tokens_ - 1) / block_tokens_; }
  int32_t available() const { return pool_.unreferenced(); }  // free and cached
  int32_t total() const { return pool_.total(); }
  uint64_t releases() const { return pool_.releases(); }
  std::span<const int32_t> table(const Sequence& sequence) const;

  // Looks the sequence's tokens up; never all of them, since the last must be computed for its
  // logits. Finds nothing when the sequence may not read the cache. adopt() then references what
  // the latest match() found, for a sequence without blocks.
  PrefixMatch match(const Sequence& sequence, bool may_read);
  void adopt(Sequence& sequence, const PrefixMatch& match);

  // Gives the sequence blocks for its first `tokens` tokens. The caller has seen to available().
  void extend(Sequence& sequence, int32_t tokens);
  // Returns all blocks of the sequence.
  void release(Sequence& sequence);

  // Offers the prefix cache the sequence's full blocks: called once the step that writes them is
  // queued and their tokens are known.
  void hold_full_blocks(Sequence& sequence) {
    const int32_t written = std::min(sequence.computed, sequence.known());
    if (written >= (sequence.hashed_blocks + 1) * block_tokens_) hash_blocks(sequence, written);
  }

  void check_invariants(std::span<Sequence* const> running) const;

 private:
  std::span<int32_t> slot_table(int32_t slot);
  std::span<const TokenId> block_of(const Sequence& sequence, int32_t block) const;
  void hash_blocks(Sequence& sequence, int32_t written);

  const int32_t block_tokens_;
  const int32_t blocks_a_slot_;
  const bool prefix_caching_;
  BlockPool pool_;
  PrefixCache cache_;
  std::vector<int32_t> tables_;   // [max_sequences, blocks_a_slot]
  std::vector<int32_t> matched_;  // [blocks_a_slot]: what the latest match() found
};

}  // namespace m2
