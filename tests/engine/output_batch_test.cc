#include "engine/output_batch.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace m2 {
namespace {

Sequence make_sequence(RequestId id) {
  Request request;
  request.id = id;
  request.prompt = {5, 6};
  return Sequence(std::move(request), 100);
}

std::vector<TokenId> tokens_of(const RequestOutput& output) {
  return {output.tokens.begin(), output.tokens.end()};
}

TEST(OutputBatchTest, OneOutputARequest) {
  Sequence one = make_sequence(1), two = make_sequence(2);
  OutputBatch batch;
  EXPECT_TRUE(batch.empty());
  batch.of(one).tokens.push_back(7);
  batch.of(two).tokens.push_back(8);
  batch.of(one).tokens.push_back(9);
  batch.of(one).finish = FinishReason::kLength;
  const std::span<RequestOutput> outputs = batch.outputs();
  ASSERT_EQ(outputs.size(), 2u);
  EXPECT_EQ(outputs[0].id, 1u);
  EXPECT_TRUE(outputs[0].finished());
  EXPECT_EQ(tokens_of(outputs[0]), (std::vector<TokenId>{7, 9}));
  EXPECT_EQ(outputs[1].id, 2u);
  EXPECT_FALSE(outputs[1].finished());
}

TEST(OutputBatchTest, BeginsAnewInTheSameMemory) {
  Sequence one = make_sequence(1);
  OutputBatch batch;
  batch.of(one).tokens.push_back(7);
  batch.of(one).error = Error{ErrorKind::kInternal, "a", "b"};
  const RequestOutput* const memory = batch.outputs().data();
  const RequestOutput taken = std::move(batch.outputs()[0]);  // as a sink may
  batch.clear();
  EXPECT_TRUE(batch.empty());
  batch.of(one).tokens.push_back(8);
  ASSERT_EQ(batch.outputs().size(), 1u);
  EXPECT_EQ(batch.outputs().data(), memory);
  EXPECT_EQ(tokens_of(batch.outputs()[0]), std::vector<TokenId>{8});
  EXPECT_FALSE(batch.outputs()[0].error);
  EXPECT_TRUE(taken.error);
}

TEST(OutputBatchTest, TellsCachedTokensOnceWhenKnown) {
  Sequence one = make_sequence(1);
  OutputBatch batch;
  const auto told = [&] {
    const int32_t cached = batch.of(one).cached_tokens;
    batch.clear();
    return cached;
  };
  EXPECT_EQ(told(), -1);
  one.cached_tokens = 12;
  EXPECT_EQ(told(), 12);
  EXPECT_EQ(told(), -1);
}

}  // namespace
}  // namespace m2
