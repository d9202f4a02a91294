// Finds the KV block that already holds given tokens after a given prefix.
//
// Only full blocks are held. A block's key is a 128-bit keyed hash over its parent's key and its
// own tokens, so that a key stands for the whole prefix; the root of a chain holds the request's
// cache_salt. The hash is keyed with a secret, and a hit's tokens are compared, so that no client
// can craft a prompt that reads another's blocks.
//
// Thread-safety: one owner. Nothing allocates after construction.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/request.h"

namespace m2 {

struct BlockKey {
  uint64_t low = 0, high = 0;
  bool operator==(const BlockKey&) const = default;
};

class PrefixCache {
 public:
  PrefixCache(int32_t num_blocks, int32_t block_tokens, uint64_t secret);

  // The key before a chain's first block; differs for every salt.
  BlockKey root(std::string_view salt) const;
  // The key of the block that holds `tokens` (exactly block_tokens) after `parent`.
  BlockKey child(const BlockKey& parent, std::span<const TokenId> tokens) const;

  // The block held under `key` if it holds exactly `tokens`, else -1.
  int32_t find(const BlockKey& key, std::span<const TokenId> tokens) const;
  // Holds `block` from now on; false when another block is held under this key already.
  bool insert(const BlockKey& key, std::span<const TokenId> tokens, int32_t block);
  // The block's content is about to be overwritten. Blocks that are not held are ignored.
  void forget(int32_t block);

  bool holds(int32_t block) const { return held_[block]; }
  int32_t size() const { return size_; }
  std::span<const TokenId> tokens(int32_t block) const;

  void check_invariants() const;

 private:
  size_t home(const BlockKey& key) const { return key.low & mask_; }

  const int32_t block_tokens_;
  uint64_t secrets_[4];
  std::vector<BlockKey> keys_;   // [num_blocks]
  std::vector<TokenId> tokens_;  // [num_blocks * block_tokens]
  std::vector<uint8_t> held_;    // [num_blocks]
  std::vector<int32_t> table_;   // open addressing, linear probing; block or -1
  size_t mask_ = 0;              // table_.size() - 1, a power of two less one
  int32_t size_ = 0;
};

}  // namespace m2
