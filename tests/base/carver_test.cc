#include "base/carver.h"

#include <gtest/gtest.h>

#include <array>

namespace m2 {
namespace {

struct Arrays {
  std::byte* first = nullptr;
  int32_t *one = nullptr, *two = nullptr;  // of one part
  int64_t* other = nullptr;                // of the other
  std::byte* last = nullptr;

  size_t carve(std::byte* base, int64_t other_count) {
    Carver memory(base, 16);
    memory.take(first, 5);
    Carver part = memory.part(), others = memory.part();
    part.take(one, 3);
    part.take(two, 9);
    others.take(other, other_count);
    memory.take({part, others});
    memory.take(last, 1);
    return memory.bytes();
  }
};

TEST(CarverTest, PartsShareAPlaceThatHoldsTheLongest) {
  alignas(16) std::array<std::byte, 512> memory{};
  for (const auto& [count, longest] : {std::pair{2, 64}, {20, 160}}) {
    Arrays arrays;
    const size_t bytes = arrays.carve(nullptr, count);
    EXPECT_EQ(bytes, 16u + longest + 16u);
    EXPECT_EQ(arrays.one, nullptr);
    EXPECT_EQ(arrays.carve(memory.data(), count), bytes);
    EXPECT_EQ(reinterpret_cast<std::byte*>(arrays.one), memory.data() + 16);
    EXPECT_EQ(reinterpret_cast<std::byte*>(arrays.two), memory.data() + 32);
    EXPECT_EQ(reinterpret_cast<std::byte*>(arrays.other), memory.data() + 16);
    EXPECT_EQ(arrays.last, memory.data() + 16 + longest);
  }
}

}  // namespace
}  // namespace m2
