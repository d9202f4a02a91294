#include "loader/scale_check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "tests/loader/test_files.h"

namespace m2 {
namespace {

constexpr int64_t kRows = 6, kColumns = 3;  // of blocks

// As a quantiser leaves it: weights of nearly one size, and scales of powers of two that differ
// from block to block, whose codes make up for it.
void add_matrix(test::Tensors& all, const std::string& name, int64_t rows, float size) {
  std::mt19937 random(static_cast<uint32_t>(std::hash<std::string>()(name)));
  std::normal_distribution<float> normal(0, size);
  test::Tensor codes{DType::kF8E4M3, {rows * 128, kColumns * 128}, {}};
  test::Tensor scales{DType::kF32, {rows, kColumns}, {}};
  std::vector<float> table;
  for (int64_t i = 0; i < rows * kColumns; ++i) {
    table.push_back(size * std::ldexp(1.0f, static_cast<int>(random() % 4) - 6));
  }
  codes.bytes.resize(static_cast<size_t>(rows * kColumns) * 128 * 128);
  for (size_t i = 0; i < codes.bytes.size(); ++i) {
    const auto row = static_cast<int64_t>(i) / (kColumns * 128);
    const auto column = static_cast<int64_t>(i) % (kColumns * 128);
    const float scale = table[static_cast<size_t>(row / 128 * kColumns + column / 128)];
    codes.bytes[i] = static_cast<char>(float_to_f8(normal(random) / scale));
  }
  scales.bytes.assign(reinterpret_cast<const char*>(table.data()), table.size() * 4);
  all[name + ".weight"] = std::move(codes);
  all[name + ".weight_scale_inv"] = std::move(scales);
}

class ScaleCheckTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (int layer = 0; layer < 4; ++layer) {
      const std::string at = fmt::format("model.layers.{}.", layer);
      add_matrix(tensors_, at + "q", kRows, std::ldexp(0.01f, layer));  // layers may differ
      add_matrix(tensors_, at + "w2", 2, 0.02f);
    }
  }
  float* scales(const std::string& name) {
    return reinterpret_cast<float*>(tensors_.at(name + ".weight_scale_inv").bytes.data());
  }
  void multiply_row(const std::string& name, int64_t row, float factor) {
    for (int64_t j = 0; j < kColumns; ++j) scales(name)[row * kColumns + j] *= factor;
  }
  ScaleCheck check() {
    // Scales and codes may lie in different files.
    write_checkpoint(folder_, tensors_);
    auto checked = check_scales(folder_.path(), 3);
    EXPECT_TRUE(checked) << checked.error().message;
    return checked ? *checked : ScaleCheck{};
  }

  test::TemporaryFolder folder_;
  test::Tensors tensors_;
};

TEST_F(ScaleCheckTest, RightOnesFit) {
  const ScaleCheck checked = check();
  EXPECT_EQ(checked.tensors, 8);
  EXPECT_EQ(checked.blocks, 4 * (kRows + 2) * kColumns);
  EXPECT_TRUE(checked.broken.empty() && checked.odd.empty());
}

TEST_F(ScaleCheckTest, AChangedRowIsNamed) {
  for (const float factor : {2.0f, 0.5f, 100.0f}) {
    multiply_row("model.layers.2.q", 4, factor);
    const ScaleCheck checked = check();
    ASSERT_EQ(checked.odd.size(), 1u) << factor;
    EXPECT_EQ(checked.odd[0].tensor, "model.layers.2.q.weight_scale_inv");
    EXPECT_EQ(checked.odd[0].row, 4);
    EXPECT_NEAR(checked.odd[0].factor, std::max(factor, 1 / factor),
                0.15 * std::max(factor, 1 / factor));
    multiply_row("model.layers.2.q", 4, 1 / factor);
  }
  // Of two rows, half of all blocks.
  multiply_row("model.layers.1.w2", 1, 2);
  const ScaleCheck checked = check();
  ASSERT_EQ(checked.odd.size(), 1u);
  EXPECT_EQ(checked.odd[0].tensor, "model.layers.1.w2.weight_scale_inv");
  EXPECT_EQ(checked.odd[0].row, 1);
}

TEST_F(ScaleCheckTest, RowsOfScalesInEachOthersPlaceShow) {
  const std::string name = "model.layers.0.q";
  const float before[] = {scales(name)[0], scales(name)[1], scales(name)[2]};
  std::memmove(scales(name), scales(name) + kColumns, (kRows - 1) * kColumns * 4);
  std::memcpy(scales(name) + (kRows - 1) * kColumns, before, sizeof before);
  const ScaleCheck checked = check();
  ASSERT_EQ(checked.odd.size(), 1u);
  EXPECT_EQ(checked.odd[0].tensor, name + ".weight_scale_inv");
}

TEST_F(ScaleCheckTest, WhatIsNoNumberIsBroken) {
  scales("model.layers.0.q")[5] = 0;
  scales("model.layers.1.q")[5] = std::numeric_limits<float>::quiet_NaN();
  scales("model.layers.2.q")[5] = -1;
  tensors_.at("model.layers.3.q.weight").bytes[7] = 0x7f;
  const ScaleCheck checked = check();
  ASSERT_EQ(checked.broken.size(), 4u);
  EXPECT_NE(checked.broken[0].find("model.layers.0.q.weight_scale_inv [1, 2] is 0"),
            std::string::npos)
      << checked.broken[0];
  EXPECT_NE(checked.broken[3].find("holds NaN"), std::string::npos) << checked.broken[3];
}

// A file may say so, and other checks tell that it is not the model's shape.
TEST_F(ScaleCheckTest, WhatIsEmptyHasNoBlocks) {
  tensors_["rows.weight"] = {DType::kF8E4M3, {0, 128}, {}};
  tensors_["rows.weight_scale_inv"] = {DType::kF32, {0, 1}, {}};
  tensors_["columns.weight"] = {DType::kF8E4M3, {int64_t{1} << 50, 0}, {}};
  tensors_["columns.weight_scale_inv"] = {DType::kF32, {int64_t{1} << 43, 0}, {}};
  EXPECT_EQ(check().tensors, 8);
}

// What cannot be seen: layers may differ, so a factor over a whole matrix says nothing.
TEST_F(ScaleCheckTest, AWholeMatrixMayBeLarger) {
  for (int64_t row = 0; row < kRows; ++row) multiply_row("model.layers.3.q", row, 8);
  EXPECT_TRUE(check().odd.empty());
}

}  // namespace
}  // namespace m2
