#include "base/median.h"

#include <gtest/gtest.h>

namespace m2 {
namespace {

TEST(Median, IsTheMiddleOrTheMeanOfTheTwo) {
  EXPECT_EQ(median({}), 0);
  EXPECT_EQ(median({3}), 3);
  EXPECT_EQ(median({9, 1, 4}), 4);
  EXPECT_EQ(median({8, 1, 2, 4}), 3);
  EXPECT_EQ(median({5, 5, 1, 5}), 5);
}

}  // namespace
}  // namespace m2
