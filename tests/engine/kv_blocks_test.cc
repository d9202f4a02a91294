#include "engine/kv_blocks.h"

#include <gtest/gtest.h>

namespace m2 {
namespace {

constexpr Capacity kCapacity{.num_blocks = 6,
                             .block_tokens = 4,
                             .max_step_tokens = 20,
                             .max_sequences = 3,
                             .max_sample_rows = 8,
                             .max_model_tokens = 20,
                             .vocab_size = 100};

class KvBlocksTest : public testing::Test {
 protected:
  Sequence& running(int32_t slot, std::vector<TokenId> tokens, std::string salt = {}) {
    Request request;
    request.prompt = std::move(tokens);
    request.cache_salt = std::move(salt);
    sequences_.push_back(
        std::make_unique<Sequence>(std::move(request), kCapacity.max_model_tokens));
    Sequence& sequence = *sequences_.back();
    sequence.slot = slot;
    sequence.state = SequenceState::kRunning;
    return sequence;
  }

  // As the scheduler does when a step computes everything.
  PrefixMatch compute(Sequence& sequence) {
    const PrefixMatch match = kv_.match(sequence, true);
    kv_.adopt(sequence, match);
    kv_.extend(sequence, sequence.known());
    sequence.computed = sequence.known();
    kv_.hold_full_blocks(sequence);
    return match;
  }

  std::vector<int32_t> blocks(const Sequence& sequence) {
    const std::span<const int32_t> table = kv_.table(sequence);
    return {table.begin(), table.end()};
  }

  KvBlocks kv_{kCapacity, true, 1};
  std::vector<std::unique_ptr<Sequence>> sequences_;
};

TEST_F(KvBlocksTest, SharesFullBlocksOfEqualPrefixes) {
  Sequence& one = running(0, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  Sequence& two = running(1, {1, 2, 3, 4, 5, 6, 7, 8, 10, 11});
  EXPECT_EQ(compute(one).blocks, 0);
  const PrefixMatch match = compute(two);
  EXPECT_EQ(match.blocks, 2);
  EXPECT_EQ(match.unreferenced, 0);  // the first holds them
  EXPECT_EQ(blocks(one)[0], blocks(two)[0]);
  EXPECT_EQ(blocks(one)[1], blocks(two)[1]);
  EXPECT_NE(blocks(one)[2], blocks(two)[2]);
  EXPECT_EQ(kv_.available(), 2);
  Sequence* const both[] = {&one, &two};
  kv_.check_invariants(both);
}

TEST_F(KvBlocksTest, ReleasedBlocksAreFoundUntilTheyAreReused) {
  Sequence& one = running(0, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  compute(one);
  kv_.release(one);
  EXPECT_EQ(kv_.available(), 6);
  Sequence& again = running(1, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  PrefixMatch match = kv_.match(again, true);
  EXPECT_EQ(match.blocks, 2);
  EXPECT_EQ(match.unreferenced, 2);  // taking them leaves fewer for others

  // Another sequence takes the free ones first, then the tail of what is held.
  Sequence& large = running(2, std::vector<TokenId>(18, 50));
  compute(large);
  EXPECT_EQ(kv_.match(again, true).blocks, 1);
  Sequence* const rest[] = {&large};
  kv_.check_invariants(rest);
}

TEST_F(KvBlocksTest, NeverHoldsAPartialBlock) {
  Sequence& one = running(0, {1, 2, 3, 4, 5, 6, 7});
  compute(one);
  kv_.release(one);
  Sequence& two = running(1, {1, 2, 3, 4, 5, 6, 7, 8});
  EXPECT_EQ(kv_.match(two, true).blocks, 1);
}

TEST_F(KvBlocksTest, AGeneratedBlockIsHeldOnceItsTokensAreKnown) {
  Sequence& one = running(0, {1, 2, 3, 4, 5, 6, 7});
  compute(one);
  // The step that computes the eighth token is queued before the host knows it.
  kv_.extend(one, 8);
  one.computed = 8;
  kv_.hold_full_blocks(one);
  EXPECT_EQ(one.hashed_blocks, 1);
  one.tokens.push_back(8);
  kv_.hold_full_blocks(one);
  EXPECT_EQ(one.hashed_blocks, 2);
  Sequence& two = running(1, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  EXPECT_EQ(kv_.match(two, true).blocks, 2);
}

TEST_F(KvBlocksTest, EqualBlocksWrittenTwiceStayApart) {
  Sequence& one = running(0, {1, 2, 3, 4, 5});
  Sequence& two = running(1, {1, 2, 3, 4, 5});
  for (Sequence* sequence : {&one, &two}) {
    kv_.adopt(*sequence, kv_.match(*sequence, false));  // neither reads the cache
    kv_.extend(*sequence, 5);
    sequence->computed = 5;
  }
  kv_.hold_full_blocks(one);
  kv_.hold_full_blocks(two);
  EXPECT_NE(blocks(one)[0], blocks(two)[0]);
  Sequence* const both[] = {&one, &two};
  kv_.check_invariants(both);
  kv_.release(one);
  kv_.release(two);
  kv_.check_invariants({});
  EXPECT_EQ(kv_.available(), 6);
}

TEST_F(KvBlocksTest, SaltsDoNotShare) {
  Sequence& one = running(0, {1, 2, 3, 4, 5}, "a");
  compute(one);
  EXPECT_EQ(kv_.match(running(1, {1, 2, 3, 4, 5}, "b"), true).blocks, 0);
  EXPECT_EQ(kv_.match(running(1, {1, 2, 3, 4, 5}, "a"), true).blocks, 1);
  EXPECT_EQ(kv_.match(running(1, {1, 2, 3, 4, 5}), true).blocks, 0);
}

}  // namespace
}  // namespace m2
