#include "engine/sequence.h"

#include <gtest/gtest.h>

#include "tests/engine/reference.h"

namespace m2 {
namespace {

Request request_of(std::vector<TokenId> prompt, int32_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.stop.max_tokens = max_tokens;
  request.stop.eos_token_ids = {1};
  request.stop.stop_token_ids = {2};
  return request;
}

TEST(SequenceTest, TakesARequestApart) {
  Request request = request_of({5, 6, 7}, 10);
  request.n = 2;
  request.constraints.push_back(nullptr);
  request.constraints.push_back(std::make_unique<TestConstraint>(1, 1, 10));
  const OpenRequest open(std::move(request), 100);
  ASSERT_EQ(open.choices.size(), 2u);
  EXPECT_EQ(open.open_choices, 2);
  for (const Sequence& sequence : open.choices) {
    EXPECT_EQ(sequence.tokens, (std::vector<TokenId>{5, 6, 7}));
    EXPECT_EQ(sequence.most_tokens, 13);
    EXPECT_GE(sequence.tokens.capacity(), 13u);  // a step never reallocates a short reply
  }
  EXPECT_EQ(open.choices[0].constraint, nullptr);
  EXPECT_NE(open.choices[1].constraint, nullptr);
  EXPECT_EQ(open.request.prompt.capacity(), 0u);
}

TEST(SequenceTest, TheModelBoundsTheLength) {
  EXPECT_EQ(OpenRequest(request_of({5, 6, 7}, 2'000'000'000), 50).choices[0].most_tokens, 50);
}

TEST(SequenceTest, CountsDrawsInFlightAsLength) {
  OpenRequest open(request_of({5, 6, 7}, 2), 100);
  Sequence& sequence = open.choices[0];
  EXPECT_EQ(sequence.uncomputed(), 3);
  sequence.computed = 3;
  sequence.draws_in_flight = 1;
  EXPECT_EQ(sequence.length(), 4);
  EXPECT_EQ(sequence.uncomputed(), 1);
  sequence.computed = 4;
  sequence.draws_in_flight = 2;  // the last two: nothing is left to compute
  EXPECT_EQ(sequence.uncomputed(), 0);
}

TEST(SequenceTest, EndsByTokenThenByCount) {
  OpenRequest open(request_of({5}, 3), 100);
  Sequence& sequence = open.choices[0];
  const auto after = [&](std::vector<TokenId> output) {
    sequence.tokens = {5};
    sequence.tokens.insert(sequence.tokens.end(), output.begin(), output.end());
    return finish_reason(sequence);
  };
  EXPECT_EQ(after({7}), FinishReason::kNone);
  EXPECT_EQ(after({7, 1}), FinishReason::kStop);
  EXPECT_EQ(after({7, 2}), FinishReason::kStop);
  EXPECT_EQ(after({7, 8, 9}), FinishReason::kLength);
  EXPECT_EQ(after({7, 8, 1}), FinishReason::kStop);
  open.request.stop.ignore_eos = true;
  EXPECT_EQ(after({7, 1}), FinishReason::kNone);
  EXPECT_EQ(after({7, 2}), FinishReason::kStop);
  // A finished grammar has nothing to go on with.
  sequence.constraint = std::make_unique<TestConstraint>(0, 1, 10);
  EXPECT_EQ(after({7, 1}), FinishReason::kStop);
}

}  // namespace
}  // namespace m2
