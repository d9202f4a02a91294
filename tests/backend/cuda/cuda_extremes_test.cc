// The ends of what a step may be, on the GPU against the CPU: the longest context, prompts past the
// usual step, all tokens with the same experts.
#include <gtest/gtest.h>

#include "tests/backend/cuda/compare_logits.h"
#include "tests/backend/cuda/gpu.h"

namespace m2::test {
namespace {

constexpr int32_t kLongest = 196608;

ModelConfig without_choice() {
  ModelConfig config = small_config();
  config.num_experts = config.experts_per_token = 5;
  config.max_position_embeddings = kLongest;
  return config;
}

void expect_near(const std::vector<Logits>& ours, const std::vector<Logits>& oracle,
                 const std::string& what) {
  ASSERT_EQ(ours.size(), oracle.size());
  const LogitComparison result = compare_logits(ours, oracle, kTolerance);
  std::printf("%s: %ld positions, largest %.1e, root mean square %.1e standard deviations\n",
              what.c_str(), long(result.positions), result.largest, result.root_mean_square);
  EXPECT_TRUE(result.over.empty()) << what;
  EXPECT_TRUE(result.wrong_top.empty()) << what;
}

// A few blocks stand for the whole context, over and over: what is in them is computed in no time,
// and the kernels see as many keys as a context has.
TEST(CudaExtremes, TheLongestContext) {
  M2_NEEDS_GPU();
  constexpr int32_t kFilled = 16;  // blocks
  const ModelConfig config = without_choice();
  for (const DType kv : {DType::kBF16, DType::kF8E4M3}) {
    OpsLimits limits = small_limits(config);
    limits.max_model_tokens = kLongest;
    if (kv == DType::kF8E4M3) limits.kv_dtype = kv;  // on both sides
    const Model model = dummy_model(config, 4);
    Runner cpu(model, limits);
    Runner cuda(model, gpu_ops(config, model.shard, limits));
    const auto prompt = some_tokens(kFilled * 16, config.vocab_size, 3);
    cpu.sequence(prompt, 1000);
    cuda.sequence(prompt, 1000);
    // The last token of the longest sequence, a row of several, and a short one beside them.
    std::vector<Piece> pieces;
    for (const auto& [slot, tokens] : {std::pair{0, 1}, {1, 7}, {2, 1}}) {
      const int32_t context = slot == 2 ? 1 : kLongest - tokens;
      Piece piece{some_tokens(tokens, config.vocab_size, 20 + slot), context, {}, slot};
      const int32_t blocks = (context + tokens + 15) / 16;
      for (int32_t b = 0; b < blocks; ++b) piece.blocks.push_back(b % kFilled);
      piece.blocks.back() = 100 + slot;  // its own: the new tokens' keys go there
      pieces.push_back(std::move(piece));
    }
    const auto oracle = cpu.step(pieces);
    expect_near(cuda.step(pieces), oracle, "longest context");
  }
}

TEST(CudaExtremes, PromptsOfOddLengths) {
  M2_NEEDS_GPU();
  const ModelConfig config = without_choice();
  OpsLimits limits = small_limits(config);
  limits.max_step_tokens = limits.max_sample_rows = limits.max_model_tokens = 4352;
  limits.num_blocks = 272;
  const Model model = dummy_model(config, 4);
  Runner cpu(model, limits, fast_kernels(), 8);
  Runner cuda(model, gpu_ops(config, model.shard, limits));
  for (const int32_t count : {1, 7, 33, 255, 4097}) {
    const auto tokens = some_tokens(count, config.vocab_size, count);
    const auto oracle = cpu.sequence(tokens, 5000);
    expect_near(cuda.sequence(tokens, 5000), oracle, std::to_string(count) + " tokens");
  }
}

// The bias decides: three of eight experts work on every token, five on none.
TEST(CudaExtremes, TheSameExpertsForAllTokens) {
  M2_NEEDS_GPU();
  const ModelConfig config = small_config();
  const OpsLimits limits = small_limits(config);
  for (const int32_t first : {0, 5}) {
    Model model = dummy_model(config, 4);
    for (LayerWeights& layer : model.weights.layers) {
      auto* bias = const_cast<float*>(layer.gate_bias);
      for (int32_t e = 0; e < config.num_experts; ++e) {
        bias[e] = e >= first && e < first + config.experts_per_token ? 10.0f + float(e) : -10.0f;
      }
    }
    Runner cpu(model, limits);
    Runner cuda(model, gpu_ops(config, model.shard, limits));
    const auto tokens = some_tokens(301, config.vocab_size, 9);
    const auto oracle = cpu.sequence(tokens, 1000);
    for (const int32_t chunk : {1, 7, 33, 1000}) {
      expect_near(cuda.sequence(tokens, chunk), oracle,
                  "the same experts by " + std::to_string(chunk));
    }
  }
}

}  // namespace
}  // namespace m2::test
