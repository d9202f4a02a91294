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

TEST(FairShareTest, CountsWhatEachClientRuns) {
  FairShare share;
  EXPECT_EQ(share.running(1), 0);
  share.add_running(1, 1);
  share.add_running(1, 1);
  share.add_running(2, 1);
  share.add_running(1, -1);
  share.add_running(2, -1);
  EXPECT_EQ(share.running(1), 1);
  EXPECT_EQ(share.running(2), 0);
  share.add_running(3, 4);
  EXPECT_EQ(share.busiest(), 3u);
}

TEST(FairShareTest, SomebodyIsLeftBehindWhenTwoShort) {
  FairShare share;
  share.add_running(1, 3);
  share.add_waiting(1, 9);
  EXPECT_FALSE(share.leaves_behind(3));  // its own
  share.add_running(2, 2);
  share.add_waiting(2, 1);
  EXPECT_FALSE(share.leaves_behind(3));  // to take one would only turn the tables
  share.add_running(2, -1);
  EXPECT_TRUE(share.leaves_behind(3));
  share.add_waiting(2, -1);
  EXPECT_FALSE(share.leaves_behind(3));  // nobody waits
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
