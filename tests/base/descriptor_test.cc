#include "base/descriptor.h"

#include <fcntl.h>
#include <gtest/gtest.h>

namespace m2 {
namespace {

int open_something() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }
bool is_open(int number) { return ::fcntl(number, F_GETFD) >= 0; }

TEST(Descriptor, IsClosedWithItsOwner) {
  const int number = open_something();
  {
    const Descriptor owner(number);
    EXPECT_TRUE(owner);
    EXPECT_TRUE(is_open(owner.get()));
  }
  EXPECT_FALSE(is_open(number));
}

TEST(Descriptor, MovesAndClosesWhatItHad) {
  Descriptor one(open_something()), two(open_something());
  const int first = one.get(), second = two.get();
  one = std::move(two);
  EXPECT_FALSE(is_open(first));
  EXPECT_EQ(one.get(), second);
  Descriptor three(std::move(one));
  EXPECT_EQ(three.get(), second);
  three = {};
  EXPECT_FALSE(is_open(second));
}

TEST(Descriptor, IsReleasedOrNone) {
  Descriptor owner(open_something());
  const int number = owner.release();
  EXPECT_FALSE(owner);
  EXPECT_TRUE(is_open(number));
  ::close(number);
  EXPECT_FALSE(Descriptor(-1));
}

}  // namespace
}  // namespace m2
