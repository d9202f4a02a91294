#include "base/tensor.h"

#include <gtest/gtest.h>

namespace m2 {
namespace {

TEST(TensorViewTest, CountsElementsAndBytes) {
  const uint16_t data[6] = {};
  const TensorView view{data, DType::kBF16, 2, {2, 3}};
  EXPECT_EQ(view.elements(), 6);
  EXPECT_EQ(view.bytes(), 12u);
  EXPECT_EQ(view.as<uint16_t>(), data);
  EXPECT_FALSE(view.empty());
  EXPECT_TRUE(TensorView{}.empty());
}

TEST(TensorViewDeathTest, RefusesAReadOfAnotherWidth) {
  const uint16_t data[1] = {};
  const TensorView view{data, DType::kBF16, 1, {1}};
  EXPECT_DEATH(view.as<float>(), "BF16 tensor read as 4-byte");
}

}  // namespace
}  // namespace m2
