#include "engine/fair_share.h"

#include <gtest/gtest.h>

namespace m2 {
namespace {

TEST(FairShareTest, OneClientsTurnsFollowEachOther) {
  FairShare share;
  EXPECT_EQ(share.enter(1, 10), 0u);
  EXPECT_EQ(share.enter(1, 5), 10u);
  EXPECT_EQ(share.enter(1, 5), 15u);
}

TEST(FairShareTest, AnotherClientComesBeforeTheRestOfTheFirst) {
  FairShare share;
  for (int i = 0; i < 100; ++i) share.enter(1, 10);
  EXPECT_EQ(share.enter(2, 10), 0u);
  EXPECT_EQ(share.enter(2, 10), 10u);
}

TEST(FairShareTest, ALatecomerIsNotOwedTheTimeItWasAway) {
  FairShare share;
  for (int i = 0; i < 100; ++i) share.enter(1, 10);
  share.start(500);
  EXPECT_EQ(share.enter(2, 10), 500u);
  share.start(200);  // the clock does not run back
  EXPECT_EQ(share.enter(3, 10), 500u);
}

TEST(FairShareTest, ForgetsClientsThatHaveNothingAhead) {
  FairShare share;
  for (uint64_t client = 0; client < 1000; ++client) {
    share.start(share.enter(client, 1) + 1);
    EXPECT_LE(share.clients(), 2u);
  }
}

}  // namespace
}  // namespace m2
