#include "engine/block_pool.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace m2 {
namespace {

TEST(BlockPoolTest, HandsOutEachBlockOnce) {
  BlockPool pool(3);
  std::vector<bool> seen(3, false);
  for (int i = 0; i < 3; ++i) {
    const int32_t block = pool.take();
    ASSERT_TRUE(block >= 0 && block < 3);
    EXPECT_FALSE(seen[block]);
    seen[block] = true;
    EXPECT_EQ(pool.references(block), 1);
  }
  EXPECT_EQ(pool.take(), -1);
  EXPECT_EQ(pool.unreferenced(), 0);
  pool.check_invariants();
}

TEST(BlockPoolTest, ReusesWorthlessBlocksFirstThenTheLongestUnused) {
  BlockPool pool(4);
  for (int i = 0; i < 4; ++i) pool.take();
  pool.release(2, true);
  pool.release(0, true);
  pool.release(3, false);
  pool.release(1, true);
  EXPECT_EQ(pool.take(), 3);
  EXPECT_EQ(pool.take(), 2);
  EXPECT_EQ(pool.take(), 0);
  EXPECT_EQ(pool.take(), 1);
}

TEST(BlockPoolTest, ABlockComesBackWithItsLastReference) {
  BlockPool pool(2);
  const int32_t block = pool.take();
  pool.reference(block);
  pool.release(block, true);
  EXPECT_EQ(pool.unreferenced(), 1);
  pool.release(block, true);
  EXPECT_EQ(pool.unreferenced(), 2);
  pool.reference(block);  // a hit on an unreferenced block takes it out of the list
  EXPECT_EQ(pool.unreferenced(), 1);
  EXPECT_NE(pool.take(), block);
  pool.check_invariants();
}

TEST(BlockPoolTest, CountsReleases) {
  BlockPool pool(2);
  const int32_t block = pool.take();
  pool.reference(block);
  const uint64_t before = pool.releases();
  pool.release(block, true);
  EXPECT_EQ(pool.releases(), before);
  pool.release(block, true);
  EXPECT_EQ(pool.releases(), before + 1);
}

TEST(BlockPoolTest, StaysWholeOverRandomUse) {
  std::mt19937 random(1);
  BlockPool pool(17);
  std::vector<int32_t> held;
  for (int i = 0; i < 5000; ++i) {
    const auto dice = random() % 4;
    if (dice == 0 && pool.unreferenced() > 0) {
      held.push_back(pool.take());
    } else if (dice == 1) {
      const auto block = static_cast<int32_t>(random() % 17);
      pool.reference(block);
      held.push_back(block);
    } else if (!held.empty()) {
      std::swap(held[random() % held.size()], held.back());
      pool.release(held.back(), random() % 2 == 0);
      held.pop_back();
    }
    pool.check_invariants();
  }
}

TEST(BlockPoolDeathTest, ChecksReferences) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  BlockPool pool(1);
  EXPECT_DEATH(pool.release(0, false), "released once too often");
}

}  // namespace
}  // namespace m2
