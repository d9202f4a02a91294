// The whole model on the CPU against the reference in double, and bit for bit against itself under
// every way of batching.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/backend/cpu/model_runner.h"
#include "tests/backend/cpu/reference_ops.h"

namespace m2::test {
namespace {

double deviation(const Logits& logits) {
  double sum = 0, squares = 0;
  for (float x : logits) sum += x, squares += double{x} * x;
  const double mean = sum / double(logits.size());
  return std::sqrt(squares / double(logits.size()) - mean * mean);
}

double largest_difference(const std::vector<Logits>& a, const std::vector<Logits>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t t = 0; t < a.size(); ++t) {
    for (size_t i = 0; i < a[t].size(); ++i) {
      largest = std::max(largest, std::abs(double{a[t][i]} - b[t][i]) / deviation(b[t]));
    }
  }
  return largest;
}

struct Case {
  std::string name;
  WeightFormat format;
  const Kernels& (*kernels)();
  int32_t layers;
  DType kv_dtype = DType::kF32;
  double most = 2e-5;  // difference, in standard deviations of the logits
};

class AgainstReference : public ::testing::TestWithParam<Case> {};

TEST_P(AgainstReference, LogitsAgree) {
  ModelConfig config = small_config();
  config.weight_format = GetParam().format;
  config.num_layers = GetParam().layers;
  const Model model = dummy_model(config, 3);
  OpsLimits limits = small_limits(config);
  limits.kv_dtype = GetParam().kv_dtype;
  Runner cpu(model, limits, GetParam().kernels());
  Runner reference(model, std::make_unique<ReferenceOps>(config, limits));
  const auto tokens = some_tokens(45, config.vocab_size, 1);
  const auto ours = cpu.sequence(tokens, 1000);
  const auto theirs = reference.sequence(tokens, 1000);
  EXPECT_LT(largest_difference(ours, theirs), GetParam().most);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, AgainstReference,
    ::testing::Values(
        Case{"NoLayer", WeightFormat::kFp8Block128, plain_kernels, 0},
        Case{"PlainFp8", WeightFormat::kFp8Block128, plain_kernels, 2},
        Case{"PlainBf16", WeightFormat::kBF16, plain_kernels, 2},
        Case{"FastFp8", WeightFormat::kFp8Block128, fast_kernels, 2},
        Case{"FastBf16", WeightFormat::kBF16, fast_kernels, 2},
        // A value next to a tie is rounded the other way now and then.
        Case{"PlainBf16Kv", WeightFormat::kFp8Block128, plain_kernels, 2, DType::kBF16, 3e-3},
        Case{"FastBf16Kv", WeightFormat::kFp8Block128, fast_kernels, 2, DType::kBF16, 3e-3},
        Case{"PlainFp8Kv", WeightFormat::kFp8Block128, plain_kernels, 2, DType::kF8E4M3, 3e-2},
        Case{"FastFp8Kv", WeightFormat::kFp8Block128, fast_kernels, 2, DType::kF8E4M3, 3e-2}),
    [](const auto& info) { return info.param.name; });

class Invariance : public ::testing::Test {
 protected:
  const ModelConfig config_ = small_config();
  const Model model_ = dummy_model(config_, 5);
  const OpsLimits limits_ = small_limits(config_);
  Runner runner_{model_, limits_};
};

TEST_F(Invariance, ChunkedPromptEqualsWhole) {
  // Longer than a chunk of attention, so that merges are crossed too.
  const auto tokens = some_tokens(600, config_.vocab_size, 2);
  const auto whole = runner_.sequence(tokens, 1000);
  for (int32_t chunk : {1, 7, 64, 255, 256, 300}) {
    EXPECT_EQ(runner_.sequence(tokens, chunk), whole) << "in chunks of " << chunk;
  }
}

TEST_F(Invariance, HoldsForEveryTypeOfCache) {
  const auto tokens = some_tokens(300, config_.vocab_size, 2);
  const auto in_floats = runner_.sequence(tokens, 1000);
  for (DType type : {DType::kBF16, DType::kF8E4M3}) {
    OpsLimits limits = limits_;
    limits.kv_dtype = type;
    Runner runner(model_, limits);
    const auto whole = runner.sequence(tokens, 1000);
    EXPECT_NE(whole, in_floats) << dtype_name(type);
    EXPECT_EQ(runner.sequence(tokens, 7), whole) << dtype_name(type);
  }
}

TEST_F(Invariance, OtherBlocksGiveTheSame) {
  const auto tokens = some_tokens(100, config_.vocab_size, 3);
  const auto whole = runner_.sequence(tokens, 33);
  EXPECT_EQ(runner_.sequence(tokens, 33, 100), whole);
  OpsLimits limits = limits_;
  limits.block_tokens = 64;
  EXPECT_EQ(Runner(model_, limits).sequence(tokens, 33, 0, 64), whole);
}

TEST_F(Invariance, ThreadsDoNotMatter) {
  const auto tokens = some_tokens(70, config_.vocab_size, 4);
  const auto whole = runner_.sequence(tokens, 1000);
  for (int32_t threads : {1, 3, 5}) {
    Runner runner(model_, limits_, fast_kernels(), threads);
    EXPECT_EQ(runner.sequence(tokens, 1000), whole) << threads << " threads";
  }
}

// Many sequences of different lengths, some in decode and some in prefill, in one step.
TEST_F(Invariance, CompanyDoesNotMatter) {
  constexpr int32_t kSequences = 20;
  std::vector<std::vector<Logits>> alone;
  std::vector<std::vector<int32_t>> prompts;
  for (int32_t i = 0; i < kSequences; ++i) {
    prompts.push_back(some_tokens(3 + 7 * i % 50, config_.vocab_size, 10 + i));
    alone.push_back(runner_.sequence(prompts[i], 1000));
  }
  std::vector<Piece> first, second;
  for (int32_t i = 0; i < kSequences; ++i) {
    // Even ones leave their last token to the second step, odd ones about half.
    const auto count = static_cast<int32_t>(prompts[i].size());
    const int32_t cut = i % 2 == 0 ? count - 1 : count / 2;
    std::vector<int32_t> blocks;
    for (int32_t b = 0; b < 4; ++b) blocks.push_back(255 - 4 * i - b);
    const auto middle = prompts[i].begin() + cut;
    first.push_back({{prompts[i].begin(), middle}, 0, blocks, i});
    second.push_back({{middle, prompts[i].end()}, cut, blocks, i});
  }
  std::vector<std::vector<Logits>> together(kSequences);
  for (const auto& pieces : {first, second}) {
    const std::vector<Logits> all = runner_.step(pieces);
    size_t at = 0;
    for (int32_t i = 0; i < kSequences; ++i) {
      for (size_t t = 0; t < pieces[i].tokens.size(); ++t) together[i].push_back(all[at++]);
    }
  }
  for (int32_t i = 0; i < kSequences; ++i) EXPECT_EQ(together[i], alone[i]) << "sequence " << i;
}

// The token of the step before never leaves the device.
TEST_F(Invariance, LastTokenStandsForItself) {
  const auto tokens = some_tokens(20, config_.vocab_size, 6);
  SelfCommunicator self;
  std::vector<int32_t> blocks{3, 4};
  const BatchRow prefill{7, 0, 20, 0, blocks};
  runner_.forward().run({tokens, {&prefill, 1}});
  SampleRequest request;
  request.slot = 7;
  request.token_index = 19;
  request.temperature = 0;
  runner_.forward().sample({&request, 1});
  SampleOutput output;
  ASSERT_TRUE(runner_.ops().collect(output));
  const int32_t drawn = output.rows[0].token;
  const auto by_device = runner_.step({{{kLastToken}, 20, blocks, 7}});
  const auto by_value = runner_.step({{{drawn}, 20, blocks, 7}});
  EXPECT_EQ(by_device, by_value);
}

}  // namespace
}  // namespace m2::test
