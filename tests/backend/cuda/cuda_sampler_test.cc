// Sampling on the GPU against the CPU: the same logits, bit for bit, on both, and so the same
// draws.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "parallel/self_communicator.h"
#include "tests/backend/cpu/model_runner.h"
#include "tests/backend/cuda/gpu.h"

namespace m2::test {
namespace {

constexpr int32_t kHidden = 64;
constexpr float kGain = 8.0f;  // sqrt(kHidden): what the norm makes of a lone hidden value

// A model without layers: token i's hidden state is a lone value at place i, so its logits are
// column i of lm_head times kGain, exactly.
class LogitsModel {
 public:
  LogitsModel(int32_t vocab, int32_t real_vocab) {
    config_ = small_config();
    config_.num_layers = 0;
    config_.hidden_size = kHidden;
    config_.vocab_size = vocab;
    limits_ = small_limits(config_);
    limits_.max_sample_rows = 256;
    limits_.real_vocab = real_vocab;
    limits_.max_model_tokens = 4096;
    model_ = dummy_model(config_, 1);
    auto* embed = mutable_of(model_.weights.embed);
    lm_head_ = mutable_of(model_.weights.lm_head);
    for (int64_t i = 0; i < int64_t{vocab} * kHidden; ++i) {
      embed[i] = i / kHidden == i % kHidden ? float_to_bf16(1024.0f) : bf16_t{0};
      lm_head_[i] = 0;
    }
    auto* norm = const_cast<float*>(model_.weights.final_norm);
    std::fill_n(norm, kHidden, 1.0f);
  }

  // Gives token `column` these logits, rounded to what bf16 weights can make.
  template <typename Logit>
  void set(int32_t column, Logit logit) {
    for (int32_t id = 0; id < config_.vocab_size; ++id) {
      lm_head_[int64_t{id} * kHidden + column] = float_to_bf16(logit(id) / kGain);
    }
  }

  std::unique_ptr<Runner> on_cpu() const { return std::make_unique<Runner>(model_, limits_); }
  std::unique_ptr<Runner> on_gpu() const {
    return std::make_unique<Runner>(model_, gpu_ops(config_, model_.shard, limits_));
  }

 private:
  bf16_t* mutable_of(const Matrix& m) { return static_cast<bf16_t*>(const_cast<void*>(m.data)); }

  ModelConfig config_;
  OpsLimits limits_;
  Model model_;
  bf16_t* lm_head_ = nullptr;
};

// One step of one token each for columns 0 … count - 1, in slots of the same number.
void run_columns(Runner& runner, int32_t count) {
  std::vector<int32_t> tokens(count), blocks(count);
  std::vector<BatchRow> rows;
  for (int32_t i = 0; i < count; ++i) {
    tokens[i] = blocks[i] = i;
    rows.push_back({i, i, 1, 0, {&blocks[i], 1}});
  }
  runner.forward().run({tokens, rows});
}

SampleOutput sample(Runner& runner, std::span<const SampleRequest> requests) {
  runner.forward().sample(requests);
  SampleOutput output;
  const Status status = runner.ops().collect(output);
  EXPECT_TRUE(status) << status.error().message;
  return output;
}

void expect_same(const SampleOutput& gpu, const SampleOutput& cpu) {
  ASSERT_EQ(gpu.rows.size(), cpu.rows.size());
  int others = 0;
  for (size_t i = 0; i < cpu.rows.size(); ++i) {
    others += gpu.rows[i].token != cpu.rows[i].token;
    EXPECT_EQ(gpu.rows[i].token, cpu.rows[i].token) << "row " << i;
    if (gpu.rows[i].token != cpu.rows[i].token) continue;
    EXPECT_EQ(gpu.rows[i].rank, cpu.rows[i].rank) << "row " << i;
    if (std::isfinite(cpu.rows[i].logprob)) {
      EXPECT_NEAR(gpu.rows[i].logprob, cpu.rows[i].logprob, 2e-5) << "row " << i;
    } else {
      EXPECT_EQ(gpu.rows[i].logprob, cpu.rows[i].logprob) << "row " << i;
    }
    EXPECT_EQ(gpu.rows[i].top_begin, cpu.rows[i].top_begin);
    EXPECT_EQ(gpu.rows[i].top_count, cpu.rows[i].top_count);
  }
  EXPECT_EQ(gpu.top_ids, cpu.top_ids);
  ASSERT_EQ(gpu.top_logprobs.size(), cpu.top_logprobs.size());
  for (size_t i = 0; i < cpu.top_logprobs.size(); ++i) {
    if (std::isfinite(cpu.top_logprobs[i])) {
      ASSERT_NEAR(gpu.top_logprobs[i], cpu.top_logprobs[i], 2e-5) << i;
    } else {
      ASSERT_EQ(gpu.top_logprobs[i], cpu.top_logprobs[i]) << i;
    }
  }
  EXPECT_EQ(others, 0) << "of " << cpu.rows.size() << " draws";
}

class CudaSampler : public ::testing::Test {
 protected:
  static constexpr int32_t kVocab = 5003, kReal = 4997;
  void SetUp() override {
    M2_NEEDS_GPU();
    model_ = std::make_unique<LogitsModel>(kVocab, kReal);
    std::mt19937 random(3);
    std::normal_distribution<float> normal(0.0f, 3.0f);
    model_->set(0, [&](int32_t) { return normal(random); });
    model_->set(1, [&](int32_t id) { return std::sin(float(id)) * 4; });
    model_->set(2, [&](int32_t) { return 1.0f; });  // all the same
    model_->set(3, [&](int32_t id) { return id % 7 == 0 ? 2.0f : -3.0f; });
    model_->set(4, [&](int32_t id) { return id >= kReal ? 50.0f : normal(random); });
    cpu_ = model_->on_cpu();
    gpu_ = model_->on_gpu();
    run_columns(*cpu_, kColumns);
    run_columns(*gpu_, kColumns);
  }
  static constexpr int32_t kColumns = 5;

  void compare(std::span<const SampleRequest> requests) {
    const SampleOutput want = sample(*cpu_, requests);
    expect_same(sample(*gpu_, requests), want);
  }

  std::unique_ptr<LogitsModel> model_;
  std::unique_ptr<Runner> cpu_, gpu_;
};

TEST_F(CudaSampler, LogitsAreTheSameBitForBit) {
  std::vector<SampleRequest> requests(kColumns);
  for (int32_t i = 0; i < kColumns; ++i) requests[i].token_index = i;
  std::vector<float> cpu(kColumns * kVocab), gpu(kColumns * kVocab);
  sample(*cpu_, requests);
  sample(*gpu_, requests);
  ASSERT_TRUE(cpu_->ops().read_logits(cpu));
  ASSERT_TRUE(gpu_->ops().read_logits(gpu));
  EXPECT_EQ(cpu, gpu);
}

TEST_F(CudaSampler, EveryKindOfDraw) {
  const float temperatures[] = {0.0f, 0.3f, 1.0f, 1.7f};
  const int32_t top_ks[] = {0, 1, 2, 40, 300, 3000, 100000};
  const float top_ps[] = {1.0f, 0.95f, 0.5f, 0.01f};
  const float min_ps[] = {0.0f, 0.1f, 1.0f};
  std::vector<SampleRequest> requests;
  int32_t position = 0;
  for (const float temperature : temperatures) {
    for (const int32_t top_k : top_ks) {
      for (const float top_p : top_ps) {
        for (const float min_p : min_ps) {
          for (int32_t column = 0; column < kColumns; ++column) {
            SampleRequest r;
            r.slot = r.token_index = column;
            r.position = position++;
            r.temperature = temperature;
            r.top_k = top_k;
            r.top_p = top_p;
            r.min_p = min_p;
            r.seed = 1234567890123ull * position;
            requests.push_back(r);
          }
        }
      }
    }
  }
  for (size_t begin = 0; begin < requests.size(); begin += 200) {
    const size_t count = std::min<size_t>(200, requests.size() - begin);
    compare({requests.data() + begin, count});
  }
}

TEST_F(CudaSampler, ManyDrawsAtTheDefaultsOfTheFamily) {
  for (int32_t round = 0; round < 10; ++round) {
    std::vector<SampleRequest> requests(200);
    for (int32_t i = 0; i < 200; ++i) {
      requests[i].slot = requests[i].token_index = i % 2;
      requests[i].position = round * 200 + i;
      requests[i].top_k = 40;
      requests[i].top_p = 0.95f;
      requests[i].seed = i;
    }
    compare(requests);
  }
}

TEST_F(CudaSampler, RestrictionsAndBias) {
  std::vector<int32_t> allowed{3, 7, 4000, 99999, -5}, banned{0, 7}, none{99999};
  std::vector<int32_t> bias_ids{11, 4000, 99999, 12};
  std::vector<float> bias_values{3.5f, -2.0f, 1.0f, 100.0f};
  std::vector<uint32_t> mask((kVocab + 31) / 32, 0xaaaaaaaau);
  std::vector<SampleRequest> requests;
  for (int32_t kind = 0; kind < 32; ++kind) {
    for (int32_t column = 0; column < kColumns; ++column) {
      SampleRequest r;
      r.slot = r.token_index = column;
      r.position = kind;
      r.seed = 5 + column;
      if (kind & 1) r.allowed = allowed;
      if (kind & 2) r.banned = banned;
      if (kind & 4) r.bias_ids = bias_ids, r.bias_values = bias_values;
      if (kind & 8) r.mask = mask.data();
      if (kind & 16) r.temperature = 0;
      r.num_logprobs = 3;
      requests.push_back(r);
    }
  }
  SampleRequest nothing;
  nothing.allowed = none;
  requests.push_back(nothing);
  compare(requests);
}

TEST_F(CudaSampler, PenaltiesCountTheHistory) {
  std::vector<int32_t> prompt, reply;
  for (int32_t i = 0; i < 3000; ++i) prompt.push_back(i * 7 % kVocab);
  for (int32_t i = 0; i < 500; ++i) reply.push_back(i * i % 90);
  std::vector<int32_t> history = prompt;
  history.insert(history.end(), reply.begin(), reply.end());
  for (int32_t step = 0; step < 4; ++step) {
    std::vector<SampleRequest> requests;
    for (int32_t slot = 0; slot < kColumns; ++slot) {
      SampleRequest r;
      r.slot = r.token_index = slot;
      r.position = step;
      r.seed = slot;
      r.temperature = step % 2 == 0 ? 0.0f : 1.0f;
      r.top_k = 50;
      r.repetition_penalty = 1.3f;
      r.presence_penalty = 0.4f;
      r.frequency_penalty = 0.7f;
      r.history_reset = step == 0 || (step == 3 && slot == 1);
      r.history = step == 0 ? std::span<const int32_t>(history) : std::span<const int32_t>(reply);
      r.history_prompt = step == 0 ? 3000 : 0;
      r.num_logprobs = 2;
      requests.push_back(r);
    }
    // A second row of a slot in the same step: its history comes after the first one's.
    requests.push_back(requests[0]);
    requests.back().history_reset = false;
    compare(requests);
  }
}

TEST_F(CudaSampler, LogprobsOfDrawsTargetsAndNamedIds) {
  std::vector<int32_t> ids{0, 4996, 4997, 6000, -1};
  std::vector<SampleRequest> requests;
  for (const int32_t count : {0, 1, 20, 700, 4997, 8000}) {
    for (int32_t column = 0; column < kColumns; ++column) {
      SampleRequest r;
      r.token_index = column;
      r.num_logprobs = count;
      r.logprob_ids = ids;
      r.draw = column % 2 == 0;
      r.target = 17 * column;
      r.temperature = 0;
      requests.push_back(r);
    }
  }
  compare(requests);
}

// Up to 16 rows the blocks of a cluster look for a row's largest logit, each in an eighth of it;
// with one row more, and where a row has edits, one block does.
TEST(CudaSamplerLargest, IsTheSameByOneBlockOrACluster) {
  M2_NEEDS_GPU();
  constexpr int32_t kColumns = 6, kMostTogether = 16;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  // An eighth of whole vectors, rows that do not begin at one, eighths without an element.
  for (const auto& [vocab, real] : {std::pair{128, 96}, {101, 97}, {64, 9}, {64, 1}}) {
    SCOPED_TRACE(std::to_string(real) + " of " + std::to_string(vocab));
    const int32_t last = real - 1;
    LogitsModel model(vocab, real);
    model.set(0, [](int32_t) { return 1.0f; });
    model.set(1, [&](int32_t id) { return id >= last ? 3.0f : -1.0f; });
    model.set(2, [&](int32_t id) { return id == last / 2 || id == last ? 3.0f : 2.0f; });
    model.set(3, [](int32_t id) { return float(id); });
    model.set(4, [](int32_t id) { return -float(id); });
    // Nobody has a number for these, in whatever column.
    model.set(5,
              [&](int32_t id) { return id % 5 == 3 || id > last / 2 + 4 ? nan : float(id % 7); });
    const auto cpu = model.on_cpu(), gpu = model.on_gpu();
    run_columns(*cpu, kColumns);
    run_columns(*gpu, kColumns);
    std::vector<uint32_t> mask((vocab + 31) / 32, 0x55555555u);
    for (const int32_t rows : {kMostTogether, kMostTogether + 1}) {
      std::vector<SampleRequest> requests(rows);
      for (int32_t i = 0; i < rows; ++i) {
        SampleRequest& r = requests[i];
        r.slot = r.token_index = i % kColumns;
        r.temperature = i < 14 ? 0.0f : 1.0f;
        r.position = i;
        if (i % 4 == 1) r.mask = mask.data();
        if (i == 6) r.draw = false, r.target = 0;
      }
      const SampleOutput want = sample(*cpu, requests);
      expect_same(sample(*gpu, requests), want);
    }
  }
}

// Of infinite logits all are equal, or none is there to be said.
TEST(CudaSamplerLargest, OfInfiniteLogits) {
  M2_NEEDS_GPU();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const int32_t first : {0, 1, 70, 300}) {
    SCOPED_TRACE("from " + std::to_string(first));
    LogitsModel model(256, 251);
    model.set(0, [&](int32_t id) { return id < first ? -infinity : infinity; });
    const auto cpu = model.on_cpu(), gpu = model.on_gpu();
    run_columns(*cpu, 1);
    run_columns(*gpu, 1);
    SampleRequest request;
    request.temperature = 0;
    expect_same(sample(*gpu, {&request, 1}), sample(*cpu, {&request, 1}));
  }
}

TEST(CudaSamplerBroken, BrokenLogitsStillGiveAToken) {
  M2_NEEDS_GPU();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  LogitsModel model(64, 64);
  model.set(0, [&](int32_t) { return nan; });
  const auto runner = model.on_gpu();
  run_columns(*runner, 1);
  for (const float temperature : {0.0f, 1e-4f, 1.0f}) {
    for (const int32_t top_k : {0, 2}) {
      SampleRequest r;
      r.temperature = temperature;
      r.top_k = top_k;
      r.top_p = 0.5f;
      r.num_logprobs = 3;
      const SampleOutput output = sample(*runner, {&r, 1});
      EXPECT_GE(output.rows.at(0).token, 0);
      EXPECT_LT(output.rows.at(0).token, 64);
      EXPECT_FALSE(std::isnan(output.rows.at(0).logprob));
      for (const float logprob : output.top_logprobs) EXPECT_EQ(logprob, -infinity);
    }
  }
}

}  // namespace
}  // namespace m2::test
