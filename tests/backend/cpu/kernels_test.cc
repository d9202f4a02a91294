// The fast kernels against the plain ones.
#include "backend/cpu/kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "base/dtype.h"

namespace m2 {
namespace {

std::mt19937 random_engine(11);

std::vector<float> some_floats(size_t count, float size = 1) {
  std::normal_distribution<float> normal(0, size);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random_engine);
  return values;
}

// A matrix of random weights and the memory behind it.
struct OwnedMatrix {
  OwnedMatrix(DType dtype, int64_t rows, int64_t columns)
      : bytes(rows * columns * dtype_bytes(dtype)) {
    view = {bytes.data(), nullptr, dtype, rows, columns, 1};
    const std::vector<float> values = some_floats(rows * columns);
    for (int64_t i = 0; i < rows * columns; ++i) {
      if (dtype == DType::kF32) reinterpret_cast<float*>(bytes.data())[i] = values[i];
      if (dtype == DType::kBF16) {
        reinterpret_cast<bf16_t*>(bytes.data())[i] = float_to_bf16(values[i]);
      }
      if (dtype == DType::kF8E4M3) bytes[i] = std::byte{float_to_f8(values[i] * 50)};
    }
    if (dtype == DType::kF8E4M3) {
      scales = some_floats(scale_tiles(rows) * scale_tiles(columns), 0.02f);
      view.scales = scales.data();
    }
  }
  std::vector<std::byte> bytes;
  std::vector<float> scales;
  Matrix view;
};

std::vector<float> multiply(const Kernels& kernels, const Matrix& w, int64_t begin, int64_t end,
                            const std::vector<std::vector<float>>& x) {
  // As the ops do: weights in the kernels' order, inputs with their factor.
  std::vector<uint8_t> packed;
  Matrix matrix = w;
  if (w.dtype == DType::kF8E4M3 && kernels.pack_row != nullptr) {
    const auto* bytes = static_cast<const uint8_t*>(w.data);
    packed.assign(bytes, bytes + w.bytes());
    for (int64_t r = 0; r < w.rows; ++r) kernels.pack_row(packed.data() + r * w.columns, w.columns);
    matrix.data = packed.data();
  }
  std::vector<std::vector<float>> inputs = x;
  std::vector<const float*> in;
  for (auto& row : inputs) {
    for (float& value : row) value *= kernels.input_scale;
    in.push_back(row.data());
  }
  const int64_t stride = end - begin + 3;
  std::vector<float> out(x.size() * stride, 7.0f), scratch(matmul_scratch(w.columns));
  kernels.matmul(matrix, begin, end, in.data(), std::ssize(x), out.data(), stride, scratch.data());
  for (size_t t = 0; t < x.size(); ++t) {
    for (int64_t i = end - begin; i < stride; ++i) {
      EXPECT_EQ(out[t * stride + i], 7.0f) << "wrote past its rows";
    }
  }
  return out;
}

class Matmul : public ::testing::TestWithParam<DType> {};

TEST_P(Matmul, FastEqualsPlain) {
  for (const int64_t columns : {64, 192, 256, 640, 3072}) {
    const OwnedMatrix w(GetParam(), 152, columns);
    for (const int64_t tokens : {1, 2, 3, 4, 5, 6, 13, 64}) {
      std::vector<std::vector<float>> x;
      for (int64_t t = 0; t < tokens; ++t) x.push_back(some_floats(columns));
      for (const auto& [begin, end] : std::vector<std::pair<int64_t, int64_t>>{
               {0, 152}, {8, 16}, {56, 72}, {64, 128}, {3, 70}, {151, 152}}) {
        const auto plain = multiply(plain_kernels(), w.view, begin, end, x);
        const auto fast = multiply(fast_kernels(), w.view, begin, end, x);
        const double size = std::sqrt(double(columns));
        for (size_t i = 0; i < plain.size(); ++i) ASSERT_NEAR(fast[i], plain[i], 4e-6 * size);
      }
    }
  }
}

// Whatever the number of rows and tokens in a call: the same bits.
TEST_P(Matmul, ResultsDoNotDependOnCompany) {
  constexpr int64_t kColumns = 1152, kRows = 128, kTokens = 64;
  const OwnedMatrix w(GetParam(), kRows, kColumns);
  std::vector<std::vector<float>> x;
  for (int64_t t = 0; t < kTokens; ++t) x.push_back(some_floats(kColumns));
  const auto all = multiply(fast_kernels(), w.view, 0, kRows, x);
  for (const int64_t tokens : {1, 2, 3, 4, 7}) {
    for (int64_t t = 0; t + tokens <= kTokens; t += 9) {
      const auto some =
          multiply(fast_kernels(), w.view, 5, 101, {x.begin() + t, x.begin() + t + tokens});
      for (int64_t i = 0; i < tokens; ++i) {
        for (int64_t row = 5; row < 101; ++row) {
          ASSERT_EQ(some[i * 99 + row - 5], all[(t + i) * (kRows + 3) + row]);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Matmul,
                         ::testing::Values(DType::kF8E4M3, DType::kBF16, DType::kF32),
                         [](const auto& info) {
                           return std::string(info.param == DType::kF8E4M3 ? "Fp8"
                                              : info.param == DType::kBF16 ? "Bf16"
                                                                           : "Fp32");
                         });

// Every finite code, subnormals among them, is widened exactly.
TEST(Widening, EveryFp8CodeIsExact) {
  for (const float scale : {1.0f, 0.0078125f, 3.0f, 1e-4f}) {
    OwnedMatrix w(DType::kF8E4M3, 256, 64);
    std::fill(w.scales.begin(), w.scales.end(), scale);
    std::fill(w.bytes.begin(), w.bytes.end(), std::byte{0});
    for (int code = 0; code < 256; ++code) w.bytes[code * 64 + code % 64] = std::byte(code);
    const std::vector<float> ones(64, 1.0f);
    for (const size_t tokens : {1, 3, 4}) {
      const std::vector<std::vector<float>> x(tokens, ones);
      const auto out = multiply(fast_kernels(), w.view, 0, 256, x);
      for (int code = 0; code < 256; ++code) {
        if ((code & 0x7f) == 0x7f) continue;  // not a number
        EXPECT_EQ(out[code], f8_to_float(static_cast<f8_t>(code)) * scale) << code;
      }
    }
  }
}

TEST(Vectors, FastEqualsPlain) {
  const Kernels &fast = fast_kernels(), &plain = plain_kernels();
  for (const int64_t n : {1, 7, 8, 15, 64, 100, 3072, 5000}) {
    const auto a = some_floats(n, 3), b = some_floats(n);
    EXPECT_NEAR(fast.sum_of_squares(a.data(), n) / plain.sum_of_squares(a.data(), n), 1, 1e-5);
    const auto compare = [&](const auto& call) {
      std::vector<float> got(b), want(b);
      got.resize(n + 1, 5.0f), want.resize(n + 1, 5.0f);
      call(fast, got.data());
      call(plain, want.data());
      for (int64_t i = 0; i <= n; ++i) EXPECT_NEAR(got[i], want[i], 2e-6 * (1 + std::abs(want[i])));
    };
    compare([&](const Kernels& k, float* y) { k.scale(a.data(), 0.3f, b.data(), n, y); });
    compare([&](const Kernels& k, float* y) { k.add_scaled(0.7f, a.data(), n, y); });
    compare([&](const Kernels& k, float* y) {
      k.silu_multiply(a.data(), b.data(), n, y);
      for (int64_t i = 0; i < n; ++i) y[i] /= k.input_scale;
    });
    std::vector<float> got(n), want(n);
    const double sum = fast.exponentials(a.data(), 9.0f, n, got.data());
    EXPECT_NEAR(sum / plain.exponentials(a.data(), 9.0f, n, want.data()), 1, 1e-5);
    for (int64_t i = 0; i < n; ++i) EXPECT_NEAR(got[i] / want[i], 1, 1e-5);
  }
}

TEST(Vectors, ExtremesOfSiluAndExponentials) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> gate{-1000, -88, 0, 88, 1000}, up(5, 1.0f);
  for (const Kernels* k : {&plain_kernels(), &fast_kernels()}) {
    std::vector<float> out(5);
    k->silu_multiply(gate.data(), up.data(), 5, out.data());
    for (float& value : out) value /= k->input_scale;
    EXPECT_NEAR(out[0], 0, 1e-30);
    EXPECT_NEAR(out[1], 0, 1e-30);
    EXPECT_EQ(out[2], 0);
    EXPECT_EQ(out[3], 88);
    EXPECT_EQ(out[4], 1000);
    const std::vector<float> x{-infinity, 0, -1e30f, -200, 1};
    const double sum = k->exponentials(x.data(), 1.0f, 5, out.data());
    EXPECT_NEAR(sum, 1 + std::exp(-1.0), 1e-6) << k->name;
    EXPECT_EQ(out[0], 0) << k->name;
    EXPECT_EQ(out[2], 0) << k->name;
  }
}

struct AttendCase {
  int32_t queries, block_tokens;
  std::vector<int32_t> visible;
};

class Attend : public ::testing::Test {
 protected:
  static constexpr int32_t kHeadDim = 128;

  struct Outcome {
    std::vector<float> largest, sum;
    std::vector<std::vector<float>> weighted;
  };

  Outcome run(const Kernels& kernels, const std::vector<std::vector<float>>& queries,
              const std::vector<int32_t>& visible, int32_t block_tokens) {
    const auto count = static_cast<int32_t>(queries.size());
    std::vector<const float*> keys, values, query;
    for (int32_t j = 0; j < kChunkTokens; j += block_tokens) {
      keys.push_back(keys_.data() + int64_t{j} * kHeadDim);
      values.push_back(values_.data() + int64_t{j} * kHeadDim);
    }
    Outcome outcome{std::vector<float>(count), std::vector<float>(count),
                    std::vector<std::vector<float>>(count, std::vector<float>(kHeadDim))};
    std::vector<float*> weighted;
    for (int32_t i = 0; i < count; ++i) {
      query.push_back(queries[i].data());
      weighted.push_back(outcome.weighted[i].data());
    }
    std::vector<float> scores(int64_t{kQueryBlock} * kChunkTokens);
    kernels.attend({keys.data(), values.data(), block_tokens, kHeadDim, count, query.data(),
                    visible.data(), 0.088f, scores.data(), outcome.largest.data(),
                    outcome.sum.data(), weighted.data()});
    return outcome;
  }

  std::vector<float> keys_ = some_floats(int64_t{kChunkTokens} * kHeadDim);
  std::vector<float> values_ = some_floats(int64_t{kChunkTokens} * kHeadDim);
};

TEST_F(Attend, FastEqualsPlain) {
  for (const int32_t block_tokens : {1, 16, 256}) {
    for (const auto& visible : std::vector<std::vector<int32_t>>{
             {1}, {256}, {5, 5}, {17, 18, 19}, {1, 2, 3, 4, 5, 6, 7}, {250, 251, 252, 256, 256}}) {
      std::vector<std::vector<float>> queries;
      for (size_t i = 0; i < visible.size(); ++i) queries.push_back(some_floats(kHeadDim));
      const Outcome plain = run(plain_kernels(), queries, visible, block_tokens);
      const Outcome fast = run(fast_kernels(), queries, visible, block_tokens);
      for (size_t i = 0; i < visible.size(); ++i) {
        EXPECT_NEAR(fast.largest[i], plain.largest[i], 1e-5);
        EXPECT_NEAR(fast.sum[i] / plain.sum[i], 1, 1e-5);
        for (int32_t d = 0; d < kHeadDim; ++d) {
          EXPECT_NEAR(fast.weighted[i][d], plain.weighted[i][d], 1e-5 * plain.sum[i]);
        }
      }
    }
  }
}

// What a query may not see can be anything: memory of other sequences, even infinite.
TEST_F(Attend, HiddenKeysDoNotTouchTheResult) {
  const std::vector<std::vector<float>> queries(3, some_floats(kHeadDim));
  const std::vector<int32_t> visible{9, 10, 11};
  const Outcome before = run(fast_kernels(), queries, visible, 16);
  std::fill(keys_.begin() + 11 * kHeadDim, keys_.end(), std::nanf(""));
  std::fill(values_.begin() + 11 * kHeadDim, values_.end(), std::nanf(""));
  const Outcome after = run(fast_kernels(), queries, visible, 16);
  EXPECT_EQ(after.sum, before.sum);
  EXPECT_EQ(after.weighted, before.weighted);
}

TEST(Widen, IsExact) {
  std::vector<bf16_t> halves = {0, 0x8000, 1, 0x8001, 0x3f80, 0x7f7f, 0xff7f, 0x0080};
  for (float value : some_floats(56)) halves.push_back(float_to_bf16(value));
  std::vector<f8_t> bytes;
  for (int i = 0; i < 256; ++i) bytes.push_back(i % 128 == 127 ? 0 : static_cast<f8_t>(i));  // NaN
  std::vector<float> fast(256), plain(256);
  fast_kernels().widen(DType::kBF16, halves.data(), 64, fast.data());
  plain_kernels().widen(DType::kBF16, halves.data(), 64, plain.data());
  EXPECT_EQ(fast, plain);
  fast_kernels().widen(DType::kF8E4M3, bytes.data(), 256, fast.data());
  plain_kernels().widen(DType::kF8E4M3, bytes.data(), 256, plain.data());
  EXPECT_EQ(fast, plain);
  EXPECT_EQ(plain[0x7e], 448.0f);
}

}  // namespace
}  // namespace m2
