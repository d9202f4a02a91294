#include "backend/cpu/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "backend/cpu/penalty_counts.h"
#include "backend/cpu/philox.h"

namespace m2 {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class SamplerTest : public ::testing::Test {
 protected:
  SamplerTest() { greedy_.temperature = 0; }

  SampledToken sample(const SampleRequest& request, const std::vector<float>& logits,
                      std::span<const uint16_t> counts = {}, int32_t real_vocab = -1) {
    const auto vocab = static_cast<int32_t>(logits.size());
    const Sampler sampler(plain_kernels(), real_vocab < 0 ? vocab : real_vocab);
    Sampler::Scratch scratch(vocab);
    top_ids_.assign(sampler.top_count(request), -1);
    top_logprobs_.assign(top_ids_.size(), 0);
    SampledToken token;
    sampler.sample(request, logits.data(), counts, scratch, token, top_ids_.data(),
                   top_logprobs_.data());
    return token;
  }

  // How often each token was drawn over many positions.
  std::map<int32_t, int> histogram(SampleRequest request, const std::vector<float>& logits,
                                   int draws = 20000) {
    std::map<int32_t, int> counts;
    for (request.position = 0; request.position < draws; ++request.position) {
      ++counts[sample(request, logits).token];
    }
    return counts;
  }

  std::set<int32_t> drawn(const SampleRequest& request, const std::vector<float>& logits) {
    std::set<int32_t> tokens;
    for (const auto& [token, count] : histogram(request, logits, 3000)) tokens.insert(token);
    return tokens;
  }

  SampleRequest greedy_, request_;
  std::vector<int32_t> top_ids_;
  std::vector<float> top_logprobs_;
};

using Ids = std::set<int32_t>;

TEST(Philox, KnownAnswers) {
  // Of the generator's authors: key 0, counter 0, and all ones (the upper counter words are 0 here,
  // so only the first can be checked as it stands).
  EXPECT_EQ(philox(0, 0),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
}

TEST(Philox, UniformIsUniformAndStateless) {
  double sum = 0;
  for (uint64_t i = 0; i < 100000; ++i) {
    const double u = philox_uniform(7, i);
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
  }
  EXPECT_NEAR(sum / 100000, 0.5, 0.005);
  EXPECT_EQ(philox_uniform(7, 5), philox_uniform(7, 5));
  EXPECT_NE(philox_uniform(7, 5), philox_uniform(8, 5));
}

TEST_F(SamplerTest, GreedyTakesTheBestAndTheLowerIdOnATie) {
  EXPECT_EQ(sample(greedy_, {0, 3, 1, 3}).token, 1);
}

TEST_F(SamplerTest, DrawsFollowTheProbabilities) {
  const std::vector<float> logits{std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  for (int32_t top_k : {0, 2, 3}) {
    SampleRequest request = request_;
    request.top_k = top_k;
    auto counts = histogram(request, logits);
    const double kept = top_k == 2 ? 0.8 : 1.0;
    EXPECT_NEAR(counts[0] / 20000.0, 0.5 / kept, 0.015);
    EXPECT_NEAR(counts[1] / 20000.0, 0.3 / kept, 0.015);
    EXPECT_NEAR(counts[2] / 20000.0, top_k == 2 ? 0 : 0.2, 0.015);
  }
}

TEST_F(SamplerTest, TemperatureFlattens) {
  request_.temperature = 2.0f;
  auto counts = histogram(request_, {std::log(0.8f), std::log(0.2f)});
  const double expected = std::sqrt(0.8) / (std::sqrt(0.8) + std::sqrt(0.2));
  EXPECT_NEAR(counts[0] / 20000.0, expected, 0.015);
}

TEST_F(SamplerTest, TopPKeepsTheTokenThatCrosses) {
  const std::vector<float> logits{std::log(0.2f), std::log(0.5f), std::log(0.3f)};
  request_.top_p = 0.5f;
  EXPECT_EQ(drawn(request_, logits), (Ids{1}));
  request_.top_p = 0.51f;
  EXPECT_EQ(drawn(request_, logits), (Ids{1, 2}));
  request_.top_p = 0.001f;
  EXPECT_EQ(drawn(request_, logits), (Ids{1}));
  // After top_k, shares are of what top_k left: 0.5 / 0.8 reaches 0.6.
  request_.top_k = 2;
  request_.top_p = 0.6f;
  EXPECT_EQ(drawn(request_, logits), (Ids{1}));
}

TEST_F(SamplerTest, TopPOverAFlatVocabularyLargerThanTheFirstGuess) {
  const std::vector<float> logits(5000, 1.0f);
  request_.top_p = 0.5f;
  const Ids tokens = drawn(request_, logits);
  EXPECT_LT(*tokens.rbegin(), 2501);
  EXPECT_GT(tokens.size(), 1000u);
}

TEST_F(SamplerTest, MinPIsRelativeToTheBest) {
  const std::vector<float> logits{std::log(0.6f), std::log(0.3f), std::log(0.1f)};
  request_.min_p = 0.4f;
  EXPECT_EQ(drawn(request_, logits), (Ids{0, 1}));
  request_.min_p = 0.6f;
  EXPECT_EQ(drawn(request_, logits), (Ids{0}));
}

TEST_F(SamplerTest, RestrictionsAndBias) {
  const std::vector<float> logits{5, 4, 3, 2};
  const std::vector<int32_t> allowed{2, 3, 99, -5}, banned{0};
  SampleRequest r = greedy_;
  r.allowed = allowed;
  EXPECT_EQ(sample(r, logits).token, 2);
  r = greedy_;
  r.banned = banned;
  EXPECT_EQ(sample(r, logits).token, 1);
  const uint32_t mask = 0b1100;
  r.mask = &mask;
  EXPECT_EQ(sample(r, logits).token, 2);
  const std::vector<int32_t> bias_ids{3, 1};
  const std::vector<float> bias_values{10, 100};
  r.bias_ids = bias_ids;
  r.bias_values = bias_values;
  EXPECT_EQ(sample(r, logits).token, 3) << "a bias does not lift a mask";
}

TEST_F(SamplerTest, Penalties) {
  PenaltyCounts counts(3, HostMemory(PenaltyCounts::bytes(2, 3)));
  SampleRequest r = greedy_;
  r.slot = 1;
  const std::vector<int32_t> history{0, 1, 1};
  r.history = history;
  r.history_prompt = 1;  // 0 is prompt, 1 was said twice
  r.history_reset = true;
  counts.update(r);
  const auto drawn_with = [&](float repetition, float presence, float frequency,
                              const std::vector<float>& logits) {
    r.repetition_penalty = repetition;
    r.presence_penalty = presence;
    r.frequency_penalty = frequency;
    return sample(r, logits, counts.of(1)).token;
  };
  EXPECT_EQ(drawn_with(1, 0, 0, {2.0f, 3.0f, 1.9f}), 1);
  EXPECT_EQ(drawn_with(2, 0, 0, {2.0f, 3.0f, 1.9f}), 2) << "prompt and reply are repeated";
  EXPECT_EQ(drawn_with(2, 0, 0, {-2.0f, -2.0f, -3.9f}), 2) << "negative logits move down";
  EXPECT_EQ(drawn_with(1, 0.9f, 0, {2.0f, 3.0f, 0}), 1);
  EXPECT_EQ(drawn_with(1, 1.1f, 0, {2.0f, 3.0f, 0}), 0) << "the prompt has no presence";
  EXPECT_EQ(drawn_with(1, 0, 0.4f, {2.0f, 3.0f, 0}), 1);
  EXPECT_EQ(drawn_with(1, 0, 0.6f, {2.0f, 3.0f, 0}), 0) << "said twice counts twice";
  r.history = {};
  counts.update(r);
  EXPECT_EQ(drawn_with(1, 2, 2, {2.0f, 3.0f, 0}), 1) << "a reset forgets";
}

TEST_F(SamplerTest, LogprobsAreOfTheRawLogits) {
  const std::vector<float> logits{std::log(0.1f), std::log(0.6f), std::log(0.3f)};
  const std::vector<int32_t> banned{1}, ids{0, 1};
  greedy_.banned = banned;
  greedy_.num_logprobs = 2;
  greedy_.logprob_ids = ids;
  const SampledToken token = sample(greedy_, logits);
  EXPECT_EQ(token.token, 2);
  EXPECT_EQ(token.rank, 2);
  EXPECT_NEAR(token.logprob, std::log(0.3f), 1e-6);
  EXPECT_EQ(top_ids_, (std::vector<int32_t>{1, 2, 0, 1}));
  EXPECT_NEAR(top_logprobs_[0], std::log(0.6f), 1e-6);
  EXPECT_NEAR(top_logprobs_[1], std::log(0.3f), 1e-6);
  EXPECT_NEAR(top_logprobs_[2], std::log(0.1f), 1e-6);
}

TEST_F(SamplerTest, TargetInsteadOfDraw) {
  request_.draw = false;
  request_.target = 0;
  request_.num_logprobs = 0;
  const SampledToken token = sample(request_, {std::log(0.25f), std::log(0.75f)});
  EXPECT_EQ(token.token, 0);
  EXPECT_EQ(token.rank, 2);
  EXPECT_NEAR(token.logprob, std::log(0.25f), 1e-6);
}

TEST_F(SamplerTest, PaddingRowsOfTheVocabularyAreNever) {
  const std::vector<float> logits{1, 2, 50, 60};
  EXPECT_EQ(sample(greedy_, logits, {}, 2).token, 1);
  greedy_.num_logprobs = 4;
  sample(greedy_, logits, {}, 2);
  EXPECT_EQ(top_ids_, (std::vector<int32_t>{1, 0}));
  EXPECT_NEAR(std::exp(top_logprobs_[0]) + std::exp(top_logprobs_[1]), 1.0, 1e-6);
}

TEST_F(SamplerTest, BrokenLogitsStillGiveAToken) {
  const std::vector<std::vector<float>> broken{{kNan, kNan, kNan},
                                               {kNan, 1, kNan},
                                               {kInfinity, kInfinity, 0},
                                               {-kInfinity, -kInfinity, -kInfinity},
                                               {-kInfinity, kNan, kInfinity}};
  const std::vector<int32_t> none_known{77};
  for (const auto& logits : broken) {
    for (float temperature : {0.0f, 1e-4f, 1.0f, 100.0f}) {
      for (int32_t top_k : {0, 2}) {
        for (float top_p : {1.0f, 0.3f}) {
          SampleRequest r;
          r.temperature = temperature;
          r.top_k = top_k;
          r.top_p = top_p;
          r.min_p = 0.1f;
          r.num_logprobs = 3;
          for (bool restricted : {false, true}) {
            if (restricted) r.allowed = none_known;
            const SampledToken token = sample(r, logits);
            EXPECT_GE(token.token, 0);
            EXPECT_LT(token.token, 3);
            EXPECT_FALSE(std::isnan(token.logprob));
            for (float logprob : top_logprobs_) EXPECT_FALSE(std::isnan(logprob));
          }
        }
      }
    }
  }
}

TEST_F(SamplerTest, SeedAndPositionFixTheDraw) {
  std::vector<float> logits(1000);
  std::iota(logits.begin(), logits.end(), 0.0f);
  for (float& logit : logits) logit = std::sin(logit);
  request_.seed = 5;
  request_.position = 17;
  const int32_t token = sample(request_, logits).token;
  EXPECT_EQ(sample(request_, logits).token, token);
  std::set<int32_t> others;
  for (request_.seed = 6; request_.seed < 30; ++request_.seed) {
    others.insert(sample(request_, logits).token);
  }
  EXPECT_GT(others.size(), 10u);
}

// top_k over a large vocabulary takes exactly the k best, whatever their order.
TEST_F(SamplerTest, SelectionIsExact) {
  std::vector<float> logits(20000);
  uint32_t state = 9;
  for (float& logit : logits) {
    state = state * 1664525u + 1013904223u;
    logit = static_cast<float>(state >> 8) * 0x1p-20f;
  }
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  for (int32_t count : {1, 5, 64, 1000, 20000}) {
    greedy_.num_logprobs = count;
    sample(greedy_, logits);
    order.resize(20000);
    EXPECT_EQ(top_ids_, std::vector<int32_t>(order.begin(), order.begin() + count));
  }
}

}  // namespace
}  // namespace m2
