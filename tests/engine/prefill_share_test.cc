#include "engine/prefill_share.h"

#include <gtest/gtest.h>

namespace m2 {
namespace {

TEST(PrefillShareTest, OneClientMayHaveAll) {
  PrefillShare share(4);
  share.begin(100);
  EXPECT_EQ(share.reserved_beside(1), 0);
  share.add_wanted(1, 1000);
  EXPECT_EQ(share.reserved_beside(1), 0);
}

TEST(PrefillShareTest, EachIsLeftItsPartOrWhatItWants) {
  PrefillShare share(4);
  share.begin(100);
  share.add_wanted(1, 1000);
  share.add_wanted(2, 20);
  share.add_wanted(2, 10);
  EXPECT_EQ(share.reserved_beside(1), 30);  // no more than it wants
  EXPECT_EQ(share.reserved_beside(2), 50);
  share.add_wanted(3, 1000);
  EXPECT_EQ(share.reserved_beside(1), 30 + 33);
}

TEST(PrefillShareTest, WhatWasTakenIsReservedNoMore) {
  PrefillShare share(4);
  share.begin(100);
  share.add_wanted(1, 1000);
  share.add_wanted(2, 1000);
  share.take(1, 40);
  EXPECT_EQ(share.reserved_beside(2), 10);
  share.take(1, 30);  // more than its part: the other left it
  EXPECT_EQ(share.reserved_beside(2), 0);
  EXPECT_EQ(share.reserved_beside(1), 50);
  share.begin(100);
  EXPECT_EQ(share.reserved_beside(1), 0);
}

}  // namespace
}  // namespace m2
