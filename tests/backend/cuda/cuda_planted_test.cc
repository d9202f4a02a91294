// What would go wrong quietly on a GPU, planted: the comparison with the CPU must see each.
#include <gtest/gtest.h>

#include "tests/backend/cuda/compare_logits.h"
#include "tests/backend/cuda/gpu.h"

namespace m2::test {
namespace {

class CudaPlanted : public ::testing::Test {
 protected:
  void SetUp() override {
    M2_NEEDS_GPU();
    config_ = small_config();
    config_.num_experts = config_.experts_per_token = 5;  // no choice turns on a rounding
    limits_ = small_limits(config_);
    model_ = dummy_model(config_, 5);
    tokens_ = some_tokens(40, config_.vocab_size, 7);
    oracle_ = Runner(model_, limits_).sequence(tokens_, 1000);
  }
  Runner runner(const Model& model) {
    return Runner(model, gpu_ops(config_, model.shard, limits_));
  }
  Piece piece(int32_t begin, int32_t end, std::vector<int32_t> blocks) const {
    return {{tokens_.begin() + begin, tokens_.begin() + end}, begin, std::move(blocks), 0};
  }
  // How many of the logits, which are those of tokens from `begin` on, are past the tolerance.
  size_t seen(const std::vector<Logits>& ours, int32_t begin) const {
    const std::vector<Logits> want(oracle_.begin() + begin, oracle_.begin() + begin + ours.size());
    return compare_logits(ours, want, kTolerance).over.size();
  }

  ModelConfig config_;
  OpsLimits limits_;
  Model model_;
  std::vector<int32_t> tokens_;
  std::vector<Logits> oracle_;
};

TEST_F(CudaPlanted, NothingIsSeenWhereNothingIs) {
  Runner cuda = runner(model_);
  EXPECT_EQ(seen(cuda.step({piece(0, 39, {8, 9, 10})}), 0), 0u);
  EXPECT_EQ(seen(cuda.step({piece(39, 40, {8, 9, 10})}), 39), 0u);
}

TEST_F(CudaPlanted, AKvBlockOneOff) {
  Runner cuda = runner(model_);
  cuda.step({piece(0, 39, {8, 9, 10})});
  EXPECT_EQ(seen(cuda.step({piece(39, 40, {8, 10, 10})}), 39), 1u);
}

// Every block's scale is that of the block beside it, in all matrices of a kind.
TEST_F(CudaPlanted, AScaleOfTheWrongBlock) {
  for (Matrix LayerWeights::*kind :
       {&LayerWeights::qkv, &LayerWeights::o_proj, &LayerWeights::gate_up, &LayerWeights::down}) {
    Model wrong = copy_of(model_);
    for (LayerWeights& layer : wrong.weights.layers) {
      const Matrix& m = layer.*kind;
      auto* scales = const_cast<float*>(m.scales);
      const int64_t a_row = scale_tiles(m.columns), rows = m.count * scale_tiles(m.rows);
      for (int64_t row = 0; row + 4 <= rows; row += 4) {
        std::swap_ranges(scales + row * a_row, scales + (row + 2) * a_row,
                         scales + (row + 2) * a_row);
      }
    }
    Runner cuda = runner(wrong);
    EXPECT_GT(seen(cuda.step({piece(0, 40, {8, 9, 10})}), 0), 10u);
  }
}

// What a replayed step computes when it sees what the step before it brought.
TEST_F(CudaPlanted, AStaleInputOfAGraph) {
  Runner cuda = runner(model_);
  const std::vector<int32_t> blocks{8, 9, 10};
  cuda.step({piece(0, 37, blocks)});
  EXPECT_EQ(seen(cuda.step({piece(37, 38, blocks)}), 37), 0u);  // recorded
  EXPECT_EQ(seen(cuda.step({piece(38, 39, blocks)}), 38), 0u);  // replayed
  EXPECT_EQ(seen(cuda.step({piece(38, 39, blocks)}), 39), 1u);
}

}  // namespace
}  // namespace m2::test
