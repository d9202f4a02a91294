// Two layers of the real model's widths, random weights of unit gain: right, and how long steps
// take. Times are printed, never judged.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <numeric>

#include "tests/backend/cuda/compare_logits.h"
#include "tests/backend/cuda/gpu.h"
#include "tests/backend/cuda/router_ties.h"

namespace m2::test {
namespace {

ModelConfig real_width(int32_t layers) {
  ModelConfig config;
  config.hidden_size = 3072;
  config.num_layers = layers;
  config.num_heads = 48;
  config.num_kv_heads = 8;
  config.head_dim = 128;
  config.rotary_dim = 64;
  config.expert_width = 1536;
  config.num_experts = 256;
  config.experts_per_token = 8;
  config.vocab_size = 200064;
  config.max_position_embeddings = 196608;
  config.rope_theta = 5e6;
  return config;
}

// Host memory for the model, the two runners' copies of it, and room.
bool enough_memory(const ModelConfig& config) {
  const size_t free = size_t(sysconf(_SC_AVPHYS_PAGES)) * size_t(sysconf(_SC_PAGE_SIZE));
  return free > 4 * weights_bytes(config, *make_shard(config, {}, 0));
}

OpsLimits limits() {
  OpsLimits limits;
  limits.max_step_tokens = 8192;
  limits.max_sequences = 256;
  limits.max_sample_rows = 256;
  limits.max_model_tokens = 16384;
  limits.num_blocks = 19000;
  limits.real_vocab = 200054;
  return limits;
}

class CudaRealWidth : public ::testing::Test {
 protected:
  void SetUp() override {
    M2_NEEDS_GPU();
    if (!enough_memory(real_width(2))) GTEST_SKIP() << "needs more host memory";
  }

  // Made once: it takes seconds.
  static const Model& model() {
    static const Model model = [] {
      const ModelConfig config = real_width(2);
      Model made{config, *make_shard(config, {}, 0), {}, {}};
      made.memory = HostMemory(weights_bytes(config, made.shard));
      fill_dummy(config, made.shard, 11, 16, made.memory.data());
      made.weights = weights_at(config, made.shard, made.memory.data());
      return made;
    }();
    return model;
  }
  static std::unique_ptr<Runner> runner() {
    return std::make_unique<Runner>(model(), gpu_ops(model().config, model().shard, limits()));
  }
};

// The real model's 31 layers of one of two pipeline halves, made of the two layers' weights in
// turn: together they are larger than any cache. Times only, so their meaning does not matter.
class ManyLayers {
 public:
  static constexpr int32_t kLayers = 31;
  explicit ManyLayers(const Model& model) : weights_(model.weights) {
    ModelConfig config = model.config;
    config.num_layers = kLayers;
    while (std::ssize(weights_.layers) < kLayers) {
      weights_.layers.push_back(model.weights.layers[weights_.layers.size() % 2]);
    }
    ops_ = gpu_ops(config, model.shard, limits());
    (void)ops_->adopt(weights_);
    forward_ = std::make_unique<Forward>(weights_, *ops_, self_);
  }
  Forward& forward() { return *forward_; }
  Ops& ops() { return *ops_; }

 private:
  Weights weights_;
  SelfCommunicator self_;
  std::unique_ptr<Ops> ops_;
  std::unique_ptr<Forward> forward_;
};

// Decode of `rows` sequences that have `context` tokens, greedy or as the family's defaults sample.
class DecodeSteps {
 public:
  DecodeSteps(int32_t rows, int32_t context, bool greedy)
      : blocks_(rows), tokens_(some_tokens(rows, 200000, 77)), requests_(rows) {
    const int32_t a_row = (context + 100) / limits().block_tokens + 1;
    for (int32_t i = 0; i < rows; ++i) {
      blocks_[i].resize(a_row);
      std::iota(blocks_[i].begin(), blocks_[i].end(), i * a_row);
      batch_.push_back({i, i, 1, context, blocks_[i]});
      requests_[i].slot = requests_[i].token_index = i;
      requests_[i].temperature = greedy ? 0.0f : 1.0f;
      requests_[i].top_k = greedy ? 0 : 40;
      requests_[i].top_p = greedy ? 1.0f : 0.95f;
    }
  }

  // Milliseconds from the step's inputs to its tokens on the host.
  template <typename Runner>
  double run(Runner& runner) {
    const auto start = std::chrono::steady_clock::now();
    runner.forward().run({tokens_, batch_});
    runner.forward().sample(requests_);
    EXPECT_TRUE(runner.ops().collect(output_));
    for (BatchRow& row : batch_) ++row.context_tokens;
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
        .count();
  }
  // Milliseconds a step when the next one is queued before the tokens of the last are waited for,
  // as ranks do; with `sampled_ahead` its sampling too, so that the device cannot run out of work.
  template <typename Runner>
  double queued_ms(Runner& runner, int32_t count, bool sampled_ahead) {
    std::fill(tokens_.begin(), tokens_.end(), kLastToken);
    const auto forward = [&] {
      runner.forward().run({tokens_, batch_});
      for (BatchRow& row : batch_) ++row.context_tokens;
    };
    const auto sample = [&] { runner.forward().sample(requests_); };
    forward(), sample();
    const auto start = std::chrono::steady_clock::now();
    for (int32_t i = 0; i < count; ++i) {
      forward();
      if (sampled_ahead) sample();
      EXPECT_TRUE(runner.ops().collect(output_));
      if (!sampled_ahead) sample();
    }
    EXPECT_TRUE(runner.ops().collect(output_));
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
               .count() /
           (count + 1);
  }
  template <typename Runner>
  double median_ms(Runner& runner, int32_t count) {
    std::vector<double> times;
    for (int32_t i = 0; i < count; ++i) times.push_back(run(runner));
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }

 private:
  std::vector<std::vector<int32_t>> blocks_;
  std::vector<int32_t> tokens_;
  std::vector<BatchRow> batch_;
  std::vector<SampleRequest> requests_;
  SampleOutput output_;
};

template <typename Runner>
double prefill_ms(Runner& runner, int32_t count, int32_t times_run = 7) {
  const auto tokens = some_tokens(count, 200000, 5);
  std::vector<int32_t> blocks(count / 16 + 1);
  std::iota(blocks.begin(), blocks.end(), 0);
  const BatchRow row{0, 0, count, 0, blocks};
  SampleRequest request;
  request.token_index = count - 1;
  request.temperature = 0;
  SampleOutput output;
  std::vector<double> times;
  for (int32_t i = 0; i < times_run; ++i) {
    const auto start = std::chrono::steady_clock::now();
    runner.forward().run({tokens, {&row, 1}});
    runner.forward().sample({&request, 1});
    EXPECT_TRUE(runner.ops().collect(output));
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
            .count());
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

TEST_F(CudaRealWidth, TwentyPromptsAgreeWithTheCpu) {
  constexpr int32_t kPrompts = 20, kTokens = 30;
  constexpr float kMove = 7e-4f;  // three deviations of a score's rounding
  const auto cuda = runner();
  OpsLimits small = limits();
  small.num_blocks = 64;
  Runner cpu(model(), small, fast_kernels(), 16);
  int64_t positions = 0, over = 0, wrong = 0, over_without_tie = 0, wrong_without_tie = 0;
  double squares = 0;
  for (int32_t prompt = 0; prompt < kPrompts; ++prompt) {
    const auto tokens = some_tokens(kTokens, model().config.vocab_size, 12 + prompt);
    const auto oracle = cpu.sequence(tokens, 1000);
    const int32_t chunk = prompt % 3 == 0 ? 1 : prompt % 3 == 1 ? 7 : 1000;
    const LogitComparison result = compare_logits(cuda->sequence(tokens, chunk), oracle, 0.08);
    positions += result.positions;
    over += std::ssize(result.over);
    wrong += std::ssize(result.wrong_top);
    const auto untied = not_tied(cpu, tokens, oracle, result.over, kMove, 0.04);
    over_without_tie += std::ssize(untied);
    for (const size_t position : untied) {
      const bool nearly = not_tied(cpu, tokens, oracle, {position}, 1.5f * kMove, 0.04).empty();
      std::printf("prompt %d, position %zu: no tie by %.1e%s\n", prompt, position, double(kMove),
                  nearly ? ", but by half as much again" : "");
    }
    wrong_without_tie += std::ssize(not_tied(cpu, tokens, oracle, result.wrong_top, kMove, 0.04));
    squares += result.root_mean_square * result.root_mean_square / kPrompts;
  }
  std::printf(
      "real width: %ld positions, root mean square %.1e; %ld past the tolerance, %ld of them no "
      "router tie; %ld other top tokens, %ld of them no router tie\n",
      long(positions), std::sqrt(squares), long(over), long(over_without_tie), long(wrong),
      long(wrong_without_tie));
  EXPECT_EQ(wrong_without_tie, 0);
  EXPECT_EQ(over_without_tie, 0);
  EXPECT_LE(over, positions / 5);
  EXPECT_LT(std::sqrt(squares), 0.03);
}

// Every form of the products: each serves steps of some sizes. Router ties are among what differs.
TEST_F(CudaRealWidth, ChunksOfEverySizeAgree) {
  const auto cuda = runner();
  const auto tokens = some_tokens(250, model().config.vocab_size, 12);
  const auto by_seven = cuda->sequence(tokens, 7);
  for (const int32_t chunk : {12, 20, 50, 100, 250}) {
    const LogitComparison result = compare_logits(cuda->sequence(tokens, chunk), by_seven, 0.08);
    std::printf("by %d: root mean square %.1e, %zu other top tokens\n", chunk,
                result.root_mean_square, result.wrong_top.size());
    EXPECT_LT(result.root_mean_square, 0.03);
    EXPECT_LE(result.wrong_top.size(), 6u);
  }
}

TEST_F(CudaRealWidth, StepTimes) {
  ManyLayers cuda(model());
  std::printf("31 layers and lm_head, ms from inputs to tokens on the host:\n");
  for (const int32_t rows : {1, 2, 4, 8, 16, 32, 64, 128, 256}) {
    const int32_t context = rows == 256 ? 700 : 1024;
    const double greedy = DecodeSteps(rows, context, true).median_ms(cuda, 25);
    const double sampled = DecodeSteps(rows, context, false).median_ms(cuda, 25);
    const double queued = DecodeSteps(rows, context, false).queued_ms(cuda, 40, false);
    const double never_waiting = DecodeSteps(rows, context, false).queued_ms(cuda, 40, true);
    std::printf(
        "  decode %3d rows, context %4d: greedy %.3f, top-k 40 and top-p 0.95 %.3f; one step ahead "
        "%.3f, of which for the host %.3f\n",
        rows, context, greedy, sampled, queued, queued - never_waiting);
  }
  for (const int32_t tokens : {128, 512, 1024, 2048, 8192}) {
    std::printf("  prefill %4d tokens: %.3f\n", tokens, prefill_ms(cuda, tokens));
  }
}

// For profilers: a few steps of each kind and little else.
TEST_F(CudaRealWidth, OneStepOfEachKind) {
  const auto cuda = runner();
  for (const int32_t rows : {1, 8, 32, 64, 128, 256}) DecodeSteps(rows, 1024, rows != 1).run(*cuda);
  for (const int32_t tokens : {1024, 8192}) prefill_ms(*cuda, tokens, 1);
}

}  // namespace
}  // namespace m2::test
