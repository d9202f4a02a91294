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
  Request request = request_of({5, 6, 7}, 5000);
  request.sampling.presence_penalty = 1;
  const Sequence sequence(std::move(request), 10'000);
  EXPECT_EQ(sequence.tokens, (std::vector<TokenId>{5, 6, 7}));
  EXPECT_EQ(sequence.prompt_tokens, 3);
  EXPECT_EQ(sequence.most_tokens, 5003);
  EXPECT_GE(sequence.tokens.capacity(), 5003u);  // no step reallocates
  EXPECT_TRUE(sequence.has_penalties);
  EXPECT_EQ(sequence.request.prompt.capacity(), 0u);
}

TEST(SequenceTest, TheModelBoundsTheLength) {
  EXPECT_EQ(Sequence(request_of({5, 6, 7}, 2'000'000'000), 50).most_tokens, 50);
}

TEST(SequenceTest, CountsDrawsInFlightAsLength) {
  Sequence sequence(request_of({5, 6, 7}, 2), 100);
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
  Sequence sequence(request_of({5}, 3), 100);
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
  sequence.request.stop.ignore_eos = true;
  EXPECT_EQ(after({7, 1}), FinishReason::kNone);
  EXPECT_EQ(after({7, 2}), FinishReason::kStop);
  // A finished grammar has nothing to go on with.
  sequence.request.constraint = std::make_unique<TestConstraint>(0, 1, 10);
  EXPECT_EQ(after({7, 1}), FinishReason::kStop);
}

}  // namespace
}  // namespace m2
