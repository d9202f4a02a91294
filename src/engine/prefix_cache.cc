#include "engine/prefix_cache.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace m2 {
namespace {

// A 64 x 64 → 128-bit product folded to 64 bits: the cheapest thorough mix there is.
uint64_t fold(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// Expands one seed into several secrets (splitmix64).
uint64_t next_secret(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return (z ^ (z >> 31)) | 1u;  // odd, so that multiplying loses nothing
}

}  // namespace

PrefixCache::PrefixCache(int32_t num_blocks, int32_t block_tokens, uint64_t secret)
    : block_tokens_(block_tokens),
      keys_(num_blocks),
      tokens_(static_cast<size_t>(num_blocks) * block_tokens),
      held_(num_blocks, 0),
      // At most half full, so that probes stay short.
      table_(std::bit_ceil(static_cast<size_t>(num_blocks) * 2 + 2), -1),
      mask_(table_.size() - 1) {
  for (uint64_t& value : secrets_) value = next_secret(secret);
}

BlockKey PrefixCache::root(std::string_view salt) const {
  BlockKey key{secrets_[2], secrets_[3]};
  for (const char c : salt) {
    const auto byte = static_cast<uint64_t>(static_cast<unsigned char>(c)) + 1;
    key.low = fold(key.low ^ byte, secrets_[0]);
    key.high = fold(key.high ^ byte, secrets_[1]);
  }
  return key;
}

BlockKey PrefixCache::child(const BlockKey& parent, std::span<const TokenId> tokens) const {
  // Two lanes with different secrets; each word passes through both.
  BlockKey key{parent.low ^ secrets_[2], parent.high ^ secrets_[3]};
  for (size_t i = 0; i < tokens.size(); i += 2) {
    const uint64_t first = static_cast<uint32_t>(tokens[i]);
    const uint64_t second = i + 1 < tokens.size() ? static_cast<uint32_t>(tokens[i + 1]) : 0u;
    const uint64_t word = first | second << 32;
    key.low = fold(key.low ^ word, secrets_[0]);
    key.high = fold(key.high + word, secrets_[1]);
  }
  return {fold(key.low ^ key.high, secrets_[0]), fold(key.high, secrets_[1]) + key.low};
}

int32_t PrefixCache::find(const BlockKey& key, std::span<const TokenId> tokens) const {
  for (size_t i = home(key); table_[i] >= 0; i = (i + 1) & mask_) {
    const int32_t block = table_[i];
    if (keys_[block] != key) continue;
    return std::ranges::equal(this->tokens(block), tokens) ? block : -1;
  }
  return -1;
}

bool PrefixCache::insert(const BlockKey& key, std::span<const TokenId> tokens, int32_t block) {
  M2_CHECK(static_cast<int32_t>(tokens.size()) == block_tokens_ && !held_[block]);
  size_t i = home(key);
  for (; table_[i] >= 0; i = (i + 1) & mask_) {
    if (keys_[table_[i]] == key) return false;
  }
  table_[i] = block;
  keys_[block] = key;
  std::ranges::copy(tokens, tokens_.begin() + static_cast<ptrdiff_t>(block) * block_tokens_);
  held_[block] = 1;
  ++size_;
  return true;
}

void PrefixCache::forget(int32_t block) {
  if (!held_[block]) return;
  held_[block] = 0;
  --size_;
  size_t hole = home(keys_[block]);
  while (table_[hole] != block) hole = (hole + 1) & mask_;
  // Moves later entries of the same run back over the hole, so that no tombstones pile up: an entry
  // may move if its home is not between the hole and itself.
  for (size_t i = (hole + 1) & mask_; table_[i] >= 0; i = (i + 1) & mask_) {
    const size_t distance = (i - home(keys_[table_[i]])) & mask_;
    if (distance < ((i - hole) & mask_)) continue;
    table_[hole] = table_[i];
    hole = i;
  }
  table_[hole] = -1;
}

std::span<const TokenId> PrefixCache::tokens(int32_t block) const {
  return std::span(tokens_).subspan(static_cast<size_t>(block) * block_tokens_, block_tokens_);
}

void PrefixCache::check_invariants() const {
  int32_t held = 0;
  for (int32_t block = 0; block < static_cast<int32_t>(held_.size()); ++block) {
    if (!held_[block]) continue;
    ++held;
    M2_CHECK(find(keys_[block], tokens(block)) == block, "block {} is held but not found", block);
  }
  M2_CHECK(held == size_);
  M2_CHECK(std::ranges::count_if(table_, [](int32_t block) { return block >= 0; }) == size_);
}

}  // namespace m2
