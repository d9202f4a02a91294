#include "base/error.h"

#include <gtest/gtest.h>

namespace m2 {
namespace {

Result<int> positive(int value) {
  if (value <= 0) return invalid("value", "value must be above 0, got {}", value);
  return value;
}

Result<int> twice(int value) {
  M2_ASSIGN(const int checked, positive(value));
  return 2 * checked;
}

Status check(int value) {
  M2_TRY(positive(value));
  return {};
}

TEST(ErrorTest, ValuesPassThrough) {
  EXPECT_EQ(twice(3).value(), 6);
  EXPECT_TRUE(check(1).has_value());
}

TEST(ErrorTest, ErrorsKeepKindFieldAndMessage) {
  const Result<int> result = twice(-4);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().kind, ErrorKind::kInvalidArgument);
  EXPECT_EQ(result.error().field, "value");
  EXPECT_EQ(result.error().message, "value must be above 0, got -4");
  EXPECT_FALSE(check(0).has_value());
}

}  // namespace
}  // namespace m2
