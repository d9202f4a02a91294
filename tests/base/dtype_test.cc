#include "base/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace m2 {
namespace {

TEST(DTypeTest, EveryFiniteF8SurvivesARoundTrip) {
  for (int code = 0; code < 256; ++code) {
    const float value = f8_to_float(static_cast<f8_t>(code));
    if (std::isnan(value)) continue;
    EXPECT_EQ(float_to_f8(value), code) << "value " << value;
  }
}

TEST(DTypeTest, F8KnownValues) {
  EXPECT_EQ(f8_to_float(0x38), 1.0f);
  EXPECT_EQ(f8_to_float(0x7e), 448.0f);
  EXPECT_EQ(f8_to_float(0x01), 0x1p-9f);
  EXPECT_EQ(f8_to_float(0x08), 0x1p-6f);
  EXPECT_EQ(f8_to_float(0xc0), -2.0f);
  EXPECT_TRUE(std::isnan(f8_to_float(0x7f)));
  EXPECT_TRUE(std::isnan(f8_to_float(0xff)));
}

TEST(DTypeTest, F8RoundsToNearestEvenAtEveryMidpoint) {
  for (int code = 0; code < 0x7e; ++code) {
    const float middle =
        (f8_to_float(static_cast<f8_t>(code)) + f8_to_float(static_cast<f8_t>(code + 1))) / 2;
    EXPECT_EQ(float_to_f8(middle), code + (code & 1)) << "middle " << middle;
    EXPECT_EQ(float_to_f8(std::nextafter(middle, 1e9f)), code + 1);
    EXPECT_EQ(float_to_f8(std::nextafter(middle, 0.0f)), code);
  }
}

TEST(DTypeTest, F8SaturatesAndKeepsNaN) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(float_to_f8(1e9f), 0x7e);
  EXPECT_EQ(float_to_f8(infinity), 0x7e);
  EXPECT_EQ(float_to_f8(-infinity), 0xfe);
  EXPECT_EQ(float_to_f8(std::numeric_limits<float>::quiet_NaN()), 0x7f);
}

TEST(DTypeTest, Bf16RoundsToNearestEven) {
  EXPECT_EQ(float_to_bf16(1.0f), 0x3f80);
  EXPECT_EQ(float_to_bf16(std::bit_cast<float>(0x3f808000u)), 0x3f80);  // tie to even
  EXPECT_EQ(float_to_bf16(std::bit_cast<float>(0x3f818000u)), 0x3f82);
  EXPECT_EQ(float_to_bf16(std::bit_cast<float>(0x3f808001u)), 0x3f81);
  EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(std::nanf("")))));
  for (uint32_t code = 0; code < 0x7f80; code += 7) {
    EXPECT_EQ(float_to_bf16(bf16_to_float(static_cast<bf16_t>(code))), code);
  }
}

}  // namespace
}  // namespace m2
