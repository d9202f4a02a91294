#include "backend/cpu/router.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <vector>

namespace m2 {
namespace {

struct Choice {
  std::vector<int32_t> experts;
  std::vector<float> weights;
};

Choice choose(const std::vector<float>& logits, const std::vector<float>& bias, int32_t count) {
  Choice choice{std::vector<int32_t>(count), std::vector<float>(count)};
  choose_experts(logits.data(), bias.data(), static_cast<int32_t>(logits.size()), count,
                 choice.experts.data(), choice.weights.data());
  return choice;
}

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

TEST(Router, LargestFirstAndWeightsSumToOne) {
  const auto [experts, weights] = choose({0.5f, -1.0f, 2.0f, 1.0f}, {0, 0, 0, 0}, 3);
  EXPECT_EQ(experts, (std::vector<int32_t>{2, 3, 0}));
  const float sum = sigmoid(2) + sigmoid(1) + sigmoid(0.5f);
  EXPECT_FLOAT_EQ(weights[0], sigmoid(2) / sum);
  EXPECT_FLOAT_EQ(weights[1], sigmoid(1) / sum);
  EXPECT_FLOAT_EQ(weights[2], sigmoid(0.5f) / sum);
}

TEST(Router, BiasChoosesButDoesNotWeigh) {
  const auto [experts, weights] = choose({1.0f, 1.0f, -3.0f}, {0, 0, 5}, 2);
  EXPECT_EQ(experts, (std::vector<int32_t>{2, 0}));
  EXPECT_FLOAT_EQ(weights[0], sigmoid(-3) / (sigmoid(-3) + sigmoid(1)));
}

TEST(Router, TiesGoToTheLowerIndex) {
  const std::vector<float> same(16, 0.25f), zero(16, 0.0f);
  EXPECT_EQ(choose(same, zero, 4).experts, (std::vector<int32_t>{0, 1, 2, 3}));
  std::vector<float> one_better = same;
  one_better[9] = 0.5f;
  EXPECT_EQ(choose(one_better, zero, 4).experts, (std::vector<int32_t>{9, 0, 1, 2}));
}

TEST(Router, NotANumberIsNoScore) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto [experts, weights] = choose({nan, -1.0f, nan, nan}, {0, 0, 0, 0}, 3);
  EXPECT_EQ(experts, (std::vector<int32_t>{1, 0, 2}));
  EXPECT_FLOAT_EQ(weights[0], 1.0f);
  EXPECT_FLOAT_EQ(weights[1], 0.0f);
  const auto none = choose({nan, nan, nan}, {0, 0, 0}, 2);
  EXPECT_EQ(none.experts, (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(none.weights, (std::vector<float>{0, 0}));
}

TEST(Router, ABiasThatIsNotANumberComesLast) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const auto some = choose({0, 0, 0, 1.0f, 0}, {nan, -infinity, 0, nan, 1}, 4);
  EXPECT_EQ(some.experts, (std::vector<int32_t>{4, 2, 1, 0}));
  EXPECT_EQ(some.weights, (std::vector<float>{0.25f, 0.25f, 0.25f, 0.25f}));
  EXPECT_EQ(choose({0, 0, 0}, {nan, nan, nan}, 2).experts, (std::vector<int32_t>{0, 1}));
}

TEST(Router, AlwaysDifferentExperts) {
  std::vector<float> logits(256), bias(256, 0.0f);
  uint32_t state = 1;
  for (int round = 0; round < 50; ++round) {
    for (float& logit : logits) {
      state = state * 1664525u + 1013904223u;
      logit = static_cast<float>(state >> 28);  // many ties
    }
    const Choice choice = choose(logits, bias, 8);
    EXPECT_EQ(std::set<int32_t>(choice.experts.begin(), choice.experts.end()).size(), 8u);
    for (int i = 1; i < 8; ++i) {
      EXPECT_GE(logits[choice.experts[i - 1]], logits[choice.experts[i]]);
    }
  }
}

}  // namespace
}  // namespace m2
