#include "engine/output_batch.h"

#include <gtest/gtest.h>

namespace m2 {
namespace {

OpenRequest make_open(RequestId id, int32_t n) {
  Request request;
  request.id = id;
  request.prompt = {5, 6};
  request.n = n;
  return OpenRequest(std::move(request), 100);
}

TEST(OutputBatchTest, OneOutputARequestAndOneAChoice) {
  OpenRequest one = make_open(1, 3), two = make_open(2, 1);
  OutputBatch batch;
  EXPECT_TRUE(batch.empty());
  batch.of(one.choices[2]).tokens.push_back(7);
  batch.of(two.choices[0]).tokens.push_back(8);
  batch.of(one.choices[0]).tokens.push_back(9);
  batch.of(one.choices[2]).tokens.push_back(10);
  batch.of(one).finished = true;
  const std::vector<RequestOutput> outputs = batch.take();
  ASSERT_EQ(outputs.size(), 2u);
  EXPECT_EQ(outputs[0].id, 1u);
  EXPECT_TRUE(outputs[0].finished);
  ASSERT_EQ(outputs[0].choices.size(), 2u);
  EXPECT_EQ(outputs[0].choices[0].index, 2);
  EXPECT_EQ(outputs[0].choices[0].tokens, (std::vector<TokenId>{7, 10}));
  EXPECT_EQ(outputs[0].choices[1].index, 0);
  EXPECT_EQ(outputs[1].id, 2u);
  EXPECT_FALSE(outputs[1].finished);
}

TEST(OutputBatchTest, BeginsAnewAfterTake) {
  OpenRequest one = make_open(1, 1);
  OutputBatch batch;
  batch.of(one.choices[0]).tokens.push_back(7);
  batch.take();
  EXPECT_TRUE(batch.empty());
  batch.of(one.choices[0]).tokens.push_back(8);
  EXPECT_EQ(batch.take().at(0).choices.at(0).tokens, std::vector<TokenId>{8});
}

TEST(OutputBatchTest, TellsCachedTokensOnceWhenKnown) {
  OpenRequest one = make_open(1, 1);
  OutputBatch batch;
  batch.of(one);
  EXPECT_EQ(batch.take().at(0).cached_tokens, -1);
  one.cached_tokens = 12;
  batch.of(one);
  EXPECT_EQ(batch.take().at(0).cached_tokens, 12);
  batch.of(one);
  EXPECT_EQ(batch.take().at(0).cached_tokens, -1);
}

}  // namespace
}  // namespace m2
