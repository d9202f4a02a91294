#include "engine/prefix_cache.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace m2 {
namespace {

using Tokens = std::vector<TokenId>;

TEST(PrefixCacheTest, FindsABlockByPrefixAndTokens) {
  PrefixCache cache(8, 2, 1);
  const Tokens first{1, 2}, second{3, 4};
  const BlockKey root = cache.root("");
  const BlockKey a = cache.child(root, first);
  const BlockKey b = cache.child(a, second);
  EXPECT_TRUE(cache.insert(a, first, 5));
  EXPECT_TRUE(cache.insert(b, second, 6));
  EXPECT_EQ(cache.find(a, first), 5);
  EXPECT_EQ(cache.find(b, second), 6);
  // The same tokens after another prefix are another block.
  EXPECT_EQ(cache.find(cache.child(root, second), second), -1);
  cache.check_invariants();
}

TEST(PrefixCacheTest, AKeyAloneIsNotAHit) {
  PrefixCache cache(8, 2, 1);
  const Tokens held{1, 2}, other{1, 3};
  const BlockKey key = cache.child(cache.root(""), held);
  cache.insert(key, held, 0);
  EXPECT_EQ(cache.find(key, other), -1);  // as if the two collided
}

TEST(PrefixCacheTest, KeepsTheFirstOfEqualBlocks) {
  PrefixCache cache(8, 2, 1);
  const Tokens tokens{1, 2};
  const BlockKey key = cache.child(cache.root(""), tokens);
  EXPECT_TRUE(cache.insert(key, tokens, 3));
  EXPECT_FALSE(cache.insert(key, tokens, 4));
  EXPECT_EQ(cache.find(key, tokens), 3);
  EXPECT_FALSE(cache.holds(4));
}

TEST(PrefixCacheTest, SaltsAndSecretsSeparate) {
  const Tokens tokens{1, 2};
  PrefixCache one(8, 2, 1), two(8, 2, 2);
  std::set<uint64_t> keys;
  for (const char* salt : {"", "a", "b", "ab", "ba", "aa"}) {
    keys.insert(one.child(one.root(salt), tokens).low);
  }
  EXPECT_EQ(keys.size(), 6u);
  EXPECT_NE(one.child(one.root(""), tokens), two.child(two.root(""), tokens));
}

TEST(PrefixCacheTest, KeysDependOnEveryTokenAndTheirOrder) {
  PrefixCache cache(8, 4, 1);
  const BlockKey root = cache.root("");
  std::set<uint64_t> lows, highs;
  int count = 0;
  for (TokenId a = 0; a < 6; ++a) {
    for (TokenId b = 0; b < 6; ++b) {
      for (TokenId c = 0; c < 6; ++c) {
        for (TokenId d = 0; d < 6; ++d, ++count) {
          const BlockKey key = cache.child(root, Tokens{a, b, c, d});
          lows.insert(key.low);
          highs.insert(key.high);
        }
      }
    }
  }
  EXPECT_EQ(lows.size(), static_cast<size_t>(count));
  EXPECT_EQ(highs.size(), static_cast<size_t>(count));
}

TEST(PrefixCacheTest, ForgetsAndFindsTheOthersOverRandomUse) {
  std::mt19937 random(1);
  constexpr int32_t kBlocks = 50;
  PrefixCache cache(kBlocks, 2, 9);
  const BlockKey root = cache.root("");
  std::map<int32_t, Tokens> held;
  for (int i = 0; i < 20'000; ++i) {
    const auto block = static_cast<int32_t>(random() % kBlocks);
    if (held.contains(block)) {
      cache.forget(block);
      held.erase(block);
      continue;
    }
    const Tokens tokens{static_cast<TokenId>(random() % 10), static_cast<TokenId>(random() % 10)};
    const BlockKey key = cache.child(root, tokens);
    const bool known = cache.find(key, tokens) >= 0;
    EXPECT_EQ(cache.insert(key, tokens, block), !known);
    if (!known) held.emplace(block, tokens);
    if (i % 100 == 0) cache.check_invariants();
  }
  EXPECT_EQ(cache.size(), static_cast<int32_t>(held.size()));
  for (const auto& [block, tokens] : held) {
    EXPECT_EQ(cache.find(cache.child(root, tokens), tokens), block);
  }
  cache.forget(0);
  cache.forget(0);  // not held: ignored
  cache.check_invariants();
}

}  // namespace
}  // namespace m2
