#include "loader/dummy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "model/weights.h"
#include "tests/loader/test_files.h"

namespace m2 {
namespace {

// One rank's weights and their memory.
struct Filled {
  Shard shard;
  HostMemory memory;
  Weights weights;
};

Filled filled(const ModelConfig& config, const Parallelism& parallelism, int32_t rank,
              uint64_t seed = 7, int threads = 1) {
  Filled out;
  out.shard = make_shard(config, parallelism, rank).value();
  out.memory = HostMemory(weights_bytes(config, out.shard));
  fill_dummy(config, out.shard, seed, threads, out.memory.data());
  out.weights = weights_at(config, out.shard, out.memory.data());
  return out;
}

float weight_of(const Matrix& matrix, int64_t row, int64_t column) {
  const int64_t at = row * matrix.columns + column;
  if (matrix.dtype == DType::kBF16) {
    return bf16_to_float(static_cast<const bf16_t*>(matrix.data)[at]);
  }
  return f8_to_float(static_cast<const f8_t*>(matrix.data)[at]) *
         matrix.scales[row / 64 * scale_tiles(matrix.columns) + column / 64];
}

struct Moments {
  double mean, deviation;
};

template <typename At>
Moments moments(int64_t count, const At& at) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < count; ++i) {
    sum += at(i);
    squares += std::pow(at(i), 2);
  }
  const double mean = sum / static_cast<double>(count);
  return {mean, std::sqrt(squares / static_cast<double>(count) - mean * mean)};
}

Moments moments(const Matrix& matrix) {
  return moments(matrix.rows * matrix.columns, [&](int64_t i) {
    return weight_of(matrix, i / matrix.columns, i % matrix.columns);
  });
}

// Scales differ by up to a quarter from block to block, and these matrices have few blocks.
void expect_unit_gain(const Matrix& matrix) {
  const double tolerance = matrix.dtype == DType::kBF16 ? 0.02 : 0.25;
  const Moments found = moments(matrix);
  const double wanted = 1 / std::sqrt(static_cast<double>(matrix.columns));
  EXPECT_NEAR(found.mean, 0, 0.03 * wanted);
  EXPECT_NEAR(found.deviation, wanted, tolerance * wanted);
}

TEST(DummyTest, MatricesHaveUnitGain) {
  for (const WeightFormat format : {WeightFormat::kFp8Block128, WeightFormat::kBF16}) {
    const Filled one = filled(test::tiny_config(format), {}, 0);
    const LayerWeights& layer = one.weights.layers[1];
    expect_unit_gain(layer.qkv);
    expect_unit_gain(layer.o_proj);
    expect_unit_gain(layer.gate_up.at(3));
    expect_unit_gain(layer.down.at(3));
    expect_unit_gain(one.weights.lm_head);
    EXPECT_NEAR(moments(one.weights.embed).deviation, 1, 0.05);
  }
}

TEST(DummyTest, NormsRouterAndBias) {
  const ModelConfig config = test::tiny_config();
  const Filled one = filled(config, {}, 0);
  const LayerWeights& layer = one.weights.layers[0];
  const auto of = [](const float* values, int64_t count) {
    return moments(count, [=](int64_t i) { return values[i]; });
  };
  EXPECT_NEAR(of(layer.input_norm, 256).mean, 1, 0.05);
  EXPECT_NEAR(of(layer.q_norm, 256).deviation, 0.1, 0.03);
  const Moments gate = of(layer.gate, int64_t{config.num_experts} * config.hidden_size);
  EXPECT_NEAR(gate.mean, 0, 0.01);
  EXPECT_NEAR(gate.deviation, 1.0 / 16, 0.01);
  EXPECT_LT(std::abs(layer.gate_bias[0]), 0.1);
  EXPECT_NE(layer.gate_bias[0], layer.gate_bias[1]);
}

TEST(DummyTest, TensorsAndSeedsDiffer) {
  const Filled one = filled(test::tiny_config(), {}, 0);
  const Filled other = filled(test::tiny_config(), {}, 0, 8);
  const auto same = [](const Matrix& a, const Matrix& b) {
    int64_t count = 0;
    for (int64_t i = 0; i < a.rows * a.columns; ++i) {
      count += static_cast<const f8_t*>(a.data)[i] == static_cast<const f8_t*>(b.data)[i];
    }
    return static_cast<double>(count) / static_cast<double>(a.rows * a.columns);
  };
  const auto& layers = one.weights.layers;
  EXPECT_LT(same(layers[0].down.at(0), layers[0].down.at(1)), 0.1);
  EXPECT_LT(same(layers[0].qkv, layers[1].qkv), 0.1);
  EXPECT_LT(same(layers[0].qkv, other.weights.layers[0].qkv), 0.1);
}

TEST(DummyTest, ThreadsDoNotMatter) {
  const Filled one = filled(test::tiny_config(), {}, 0, 7, 1);
  const Filled four = filled(test::tiny_config(), {}, 0, 7, 4);
  ASSERT_EQ(one.memory.bytes(), four.memory.bytes());
  EXPECT_EQ(std::memcmp(one.memory.data(), four.memory.data(), one.memory.bytes()), 0);
}

// What rank `rank` of `parallelism` holds are the very values of the whole model.
void expect_parts_of(const Filled& whole, const ModelConfig& config, const Filled& part) {
  const Shard& shard = part.shard;
  const LayerWeights& all = whole.weights.layers[1];
  const LayerWeights& own = part.weights.layers[1];
  const int64_t q_begin = shard.head_begin * config.head_dim;
  for (int64_t row = 0; row < config.hidden_size; ++row) {
    for (int64_t column = 0; column < own.o_proj.columns; ++column) {
      ASSERT_EQ(weight_of(own.o_proj, row, column), weight_of(all.o_proj, row, q_begin + column));
    }
  }
  for (int32_t expert = 0; expert < shard.num_experts; ++expert) {
    const Matrix own_up = own.gate_up.at(expert), own_down = own.down.at(expert);
    const Matrix all_up = all.gate_up.at(shard.expert_begin + expert);
    const Matrix all_down = all.down.at(shard.expert_begin + expert);
    const int64_t begin = shard.expert_column_begin, count = shard.expert_columns;
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t j = 0; j < config.hidden_size; ++j) {
        ASSERT_EQ(weight_of(own_up, i, j), weight_of(all_up, begin + i, j));
        ASSERT_EQ(weight_of(own_up, count + i, j),
                  weight_of(all_up, config.expert_width + begin + i, j));
        ASSERT_EQ(weight_of(own_down, j, i), weight_of(all_down, j, begin + i));
      }
    }
  }
  for (int64_t i = 0; i < shard.num_heads * config.head_dim; ++i) {
    ASSERT_EQ(own.q_norm[i], all.q_norm[q_begin + i]);
  }
}

TEST(DummyTest, RanksDoNotMatter) {
  const ModelConfig config = test::tiny_config();
  const Filled whole = filled(config, {}, 0);
  for (const bool experts : {false, true}) {
    for (int32_t rank = 0; rank < 2; ++rank) {
      expect_parts_of(whole, config, filled(config, {2, experts}, rank));
    }
  }
}

// Slices that begin and end inside the runs of 64 that the values come in.
TEST(DummyTest, AnyCutGivesTheSameValues) {
  TensorSlice slice;
  slice.name = "odd";
  slice.format = SliceFormat::kBF16;
  slice.rows = slice.row_count = 5;
  slice.columns = slice.column_count = 137;
  std::vector<bf16_t> whole(5 * 137), cut(2 * 71);
  fill_dummy_elements(slice, false, 3, reinterpret_cast<std::byte*>(whole.data()));
  slice.row_begin = 2, slice.row_count = 2, slice.column_begin = 13, slice.column_count = 71;
  fill_dummy_elements(slice, false, 3, reinterpret_cast<std::byte*>(cut.data()));
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 71; ++j) EXPECT_EQ(cut[i * 71 + j], whole[(2 + i) * 137 + 13 + j]);
  }
}

}  // namespace
}  // namespace m2
