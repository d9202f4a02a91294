// More work than there is room for: order, fairness, and that everything ends.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/engine/engine_fixture.h"

namespace m2 {
namespace {

class EngineLoadTest : public EngineFixture {
 protected:
  void SetUp() override {
    sink_.on_output = [this](const RequestOutput& output) {
      if (output.finished) ended_.push_back(output.id);
    };
  }

  std::vector<RequestId> ended_;  // in order
};

TEST_F(EngineLoadTest, AtTwiceTheMemoryEverythingEndsInOrderOfArrival) {
  FakeOptions fake;
  fake.capacity.num_blocks = 64;  // 256 tokens; eight sequences grow to 64 each
  make(fake);
  std::vector<Request> requests;
  for (RequestId id = 1; id <= 40; ++id) requests.push_back(endless(id, tokens_from(id, 16), 48));
  answer(requests);
  EXPECT_GT(engine_->stats().preemptions, 0);
  EXPECT_TRUE(std::ranges::is_sorted(ended_));
}

TEST_F(EngineLoadTest, ALargeRequestIsNotStarvedBySmallOnes) {
  FakeOptions fake;
  fake.capacity.num_blocks = 32;
  std::vector<RequestId> order;
  uint64_t large_ended_at = 0;
  RequestId next = 100;
  fake.on_wait = [&](uint64_t step) {
    if (step < 300 && step % 2 == 0) submit(endless(next, tokens_from(next, 8), 10)), ++next;
    if (step == 300) engine_->drain();
    if (large_ended_at == 0 && sink_.heard(1).finished) large_ended_at = step;
  };
  make(fake);
  for (RequestId id = 2; id <= 9; ++id) submit(endless(id, tokens_from(id, 8), 10));
  const Request large = endless(1, tokens_from(1, 100), 20);  // needs 30 of the 32 blocks
  submit(large);
  ASSERT_TRUE(engine_->run());
  expect_answer(large);
  EXPECT_LT(large_ended_at, 60u);
}

TEST_F(EngineLoadTest, PriorityDecidesWhoStartsAndWhoIsPreempted) {
  FakeOptions fake;
  fake.capacity.max_sequences = 2;
  EngineOptions options;
  options.policy = SchedulingPolicy::kPriority;
  make(fake, options);
  std::vector<Request> requests;
  const int32_t priorities[] = {5, 5, 9, 1, 5, 0};
  for (RequestId id = 1; id <= 6; ++id) {
    requests.push_back(endless(id, tokens_from(id, 5), 10));
    requests.back().priority = priorities[id - 1];
  }
  answer(requests);
  EXPECT_EQ(ended_, (std::vector<RequestId>{6, 4, 1, 2, 5, 3}));
}

TEST_F(EngineLoadTest, AnUrgentLatecomerTakesBlocksFromOthers) {
  FakeOptions fake;
  fake.capacity.num_blocks = 24;
  fake.on_wait = [&](uint64_t step) {
    if (step != 3) return;
    Request urgent = endless(3, tokens_from(3, 20), 40);
    urgent.priority = -1;
    submit(urgent);
    engine_->drain();
  };
  EngineOptions options;
  options.policy = SchedulingPolicy::kPriority;
  make(fake, options);
  const Request one = endless(1, tokens_from(1, 20), 40), two = endless(2, tokens_from(2, 20), 40);
  submit(one);
  submit(two);
  ASSERT_TRUE(engine_->run());
  expect_answer(one);
  expect_answer(two);
  Request urgent = endless(3, tokens_from(3, 20), 40);
  urgent.priority = -1;
  expect_answer(urgent);
  // It came last, and nobody who was before it in rank could hold it up.
  EXPECT_EQ(ended_, (std::vector<RequestId>{3, 1, 2}));
  EXPECT_GT(engine_->stats().preemptions, 0);
}

TEST_F(EngineLoadTest, OneClientsManyLongPromptsDoNotStopAnothersShortOnes) {
  FakeOptions fake;
  fake.capacity.num_blocks = 200;
  fake.capacity.max_step_tokens = 32;
  const auto short_request = [](RequestId id) {
    Request request = endless(id, tokens_from(id, 5), 4);
    request.client = 2;
    return request;
  };
  RequestId current = 1000;  // the short request sent last
  uint64_t sent_at = 0;
  std::vector<uint64_t> steps;  // that each short request took
  fake.on_wait = [&](uint64_t step) {
    if (step < 20 || steps.size() == 10 || (current > 1000 && !sink_.heard(current).finished))
      return;
    if (current > 1000) steps.push_back(step - sent_at);
    if (current == 1010) return engine_->drain();
    submit(short_request(++current));
    sent_at = step;
  };
  make(fake);
  for (RequestId id = 1; id <= 200; ++id) {
    Request request = endless(id, tokens_from(id, 100), 4);
    request.client = 1;
    submit(request);
  }
  ASSERT_TRUE(engine_->run());
  ASSERT_EQ(steps.size(), 10u);
  // A long prompt takes four steps or so, 200 of them take 700: the short ones wait for one.
  for (const uint64_t taken : steps) EXPECT_LE(taken, 20u);
  for (RequestId id = 1001; id <= 1010; ++id) expect_answer(short_request(id));
}

TEST_F(EngineLoadTest, UnderFcfsPrioritiesDoNotCount) {
  FakeOptions fake;
  fake.capacity.max_sequences = 1;
  make(fake);
  std::vector<Request> requests;
  for (RequestId id = 1; id <= 4; ++id) {
    requests.push_back(endless(id, tokens_from(id, 5), 3));
    requests.back().priority = -static_cast<int32_t>(id);
  }
  answer(requests);
  EXPECT_EQ(ended_, (std::vector<RequestId>{1, 2, 3, 4}));
}

TEST_F(EngineLoadTest, LongPromptsDoNotStopRepliesInProgress) {
  FakeOptions fake;
  fake.capacity.num_blocks = 400;
  fake.capacity.max_model_tokens = 600;
  fake.capacity.max_step_tokens = 32;
  fake.record = true;
  make(fake);
  std::vector<Request> requests;
  requests.push_back(endless(1, tokens_from(1, 4), 60));
  requests.push_back(endless(2, tokens_from(2, 500), 5));
  requests.push_back(endless(3, tokens_from(3, 500), 5));
  answer(requests);
  // Request 1 has a token in each of its 60 steps, whatever the prompts need.
  for (size_t step = 1; step < 60; ++step) {
    EXPECT_EQ(executor_->recorded()[step].rows[0].num_tokens, 1) << step;
  }
  for (const auto& step : executor_->recorded()) EXPECT_LE(step.tokens.size(), 32u);
}

TEST_F(EngineLoadTest, AThresholdLeavesRoomForShortPromptsBesideLongOnes) {
  FakeOptions fake;
  fake.capacity.num_blocks = 400;
  fake.capacity.max_model_tokens = 600;
  EngineOptions options;
  options.long_prefill_tokens = 40;
  make(fake, options);
  std::vector<Request> requests;
  requests.push_back(endless(1, tokens_from(1, 500), 5));
  requests.push_back(endless(2, tokens_from(2, 10), 5));
  answer(requests);
  EXPECT_EQ(ended_.front(), 2u);
}

}  // namespace
}  // namespace m2
