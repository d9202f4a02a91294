#include "cli/check_forward.h"

#include <gtest/gtest.h>

#include <cmath>

namespace m2::cli {
namespace {

TEST(CheckForward, TellsHowFarTwoRunsAreApart) {
  const float one[] = {-1, -2, -3}, other[] = {-1, -2.5f, -2.75f};
  EXPECT_EQ(largest_difference(one, one), 0);
  EXPECT_EQ(largest_difference(one, other), 0.5f);
  // What is no number agrees with nothing, not even with itself, wherever it stands.
  const float broken[] = {NAN, -2, -3}, endless[] = {-1, -INFINITY, -3};
  EXPECT_EQ(largest_difference(one, broken), INFINITY);
  EXPECT_EQ(largest_difference(broken, broken), INFINITY);
  EXPECT_EQ(largest_difference(endless, endless), INFINITY);
  EXPECT_EQ(largest_difference(one, std::span(other).first(2)), INFINITY);
  EXPECT_EQ(largest_difference({}, {}), 0);
}

}  // namespace
}  // namespace m2::cli
