#include "engine/executor.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace m2 {
namespace {

constexpr Capacity kCapacity{.num_blocks = 8,
                             .block_tokens = 4,
                             .max_step_tokens = 6,
                             .max_sequences = 3,
                             .max_sample_rows = 3,
                             .max_model_tokens = 10,
                             .vocab_size = 100};

void fill(StepPlan& plan) {
  std::ranges::copy(std::vector<TokenId>{7, 8, 9}, plan.add_tokens(3).begin());
  std::ranges::copy(std::vector<int32_t>{5, 2}, plan.add_blocks(2).begin());
  plan.add_row() = {1, 0, 3, 2, 0, 2};
  plan.set_step(77);
}

TEST(StepPlanTest, HoldsRowsTokensAndBlocks) {
  StepPlan plan(kCapacity);
  EXPECT_TRUE(plan.empty());
  fill(plan);
  EXPECT_FALSE(plan.empty());
  EXPECT_EQ(plan.step(), 77u);
  ASSERT_EQ(plan.rows().size(), 1u);
  EXPECT_EQ(plan.rows()[0].slot, 1);
  EXPECT_EQ(plan.tokens()[2], 9);
  EXPECT_EQ(plan.blocks()[1], 2);
}

TEST(StepPlanTest, IsTheSameElsewhereByItsBytesAlone) {
  StepPlan plan(kCapacity), copy(kCapacity);
  fill(plan);
  ASSERT_EQ(plan.bytes().size(), copy.bytes().size());
  std::memcpy(const_cast<std::byte*>(copy.bytes().data()), plan.bytes().data(),
              plan.bytes().size());
  EXPECT_EQ(copy.step(), 77u);
  EXPECT_TRUE(std::ranges::equal(copy.tokens(), plan.tokens()));
  EXPECT_TRUE(std::ranges::equal(copy.blocks(), plan.blocks()));
  EXPECT_EQ(copy.rows()[0].context_tokens, 2);
}

TEST(StepPlanTest, ClearKeepsTheRoom) {
  StepPlan plan(kCapacity);
  const std::byte* memory = plan.bytes().data();
  fill(plan);
  plan.clear();
  EXPECT_TRUE(plan.empty());
  EXPECT_TRUE(plan.tokens().empty());
  for (int i = 0; i < 3; ++i) {
    plan.add_row();
    plan.add_tokens(2);
    plan.add_blocks(3);  // 10 tokens in blocks of 4
  }
  EXPECT_EQ(plan.bytes().data(), memory);
}

TEST(StepPlanDeathTest, RefusesMoreThanItWasMadeFor) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  StepPlan plan(kCapacity);
  EXPECT_DEATH(plan.add_tokens(7), "check failed");
}

}  // namespace
}  // namespace m2
