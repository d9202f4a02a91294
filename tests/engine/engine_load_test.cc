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
      if (output.finished()) ended_.push_back(output.id);
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

// Twice as many run as the memory holds to their ends: somebody is always preempted, and still each
// step brings a token, so that the whole is bounded.
class NobodyStarvesTest : public EngineLoadTest, public testing::WithParamInterface<bool> {};

TEST_P(NobodyStarvesTest, AtTwiceTheMemory) {
  FakeOptions fake;
  fake.capacity.num_blocks = 64;
  fake.capacity.max_sequences = 16;
  EngineOptions options;
  options.prefix_caching = GetParam();
  make(fake, options);
  std::vector<Request> requests;
  for (RequestId id = 1; id <= 64; ++id) requests.push_back(endless(id, tokens_from(id, 8), 24));
  answer(requests);
  EXPECT_GT(engine_->stats().preemptions, 0);
  EXPECT_TRUE(std::ranges::is_sorted(ended_));
  // Eight fit at their longest, so 64 take 8 rounds of 24 steps and what preemption costs.
  EXPECT_LE(executor_->steps(), 2u * 8 * 24);
}

INSTANTIATE_TEST_SUITE_P(PrefixCache, NobodyStarvesTest, testing::Bool());

TEST_F(EngineLoadTest, AtTwiceTheMemoryPrioritiesEndInTheirOrder) {
  FakeOptions fake;
  fake.capacity.num_blocks = 64;
  EngineOptions options;
  options.policy = SchedulingPolicy::kPriority;
  make(fake, options);
  std::vector<Request> requests;
  std::vector<RequestId> wanted[2];
  for (RequestId id = 1; id <= 32; ++id) {
    requests.push_back(endless(id, tokens_from(id, 16), 48));
    requests.back().priority = static_cast<int32_t>(id % 2);
    wanted[id % 2].push_back(id);
  }
  answer(requests);
  EXPECT_GT(engine_->stats().preemptions, 0);
  wanted[0].insert(wanted[0].end(), wanted[1].begin(), wanted[1].end());
  EXPECT_EQ(ended_, wanted[0]);
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

// What an urgent one waits for is a slot here, which only whole replies would give.
TEST_F(EngineLoadTest, AnUrgentLatecomerTakesASlot) {
  FakeOptions fake;
  fake.capacity.max_sequences = 2;
  Request urgent = endless(3, tokens_from(3, 5), 4);
  urgent.priority = -1;
  uint64_t ended_at = 0;
  fake.on_wait = [&](uint64_t step) {
    if (step == 3) {
      submit(urgent);
      engine_->drain();
    }
    if (ended_at == 0 && sink_.heard(3).finished) ended_at = step;
  };
  EngineOptions options;
  options.policy = SchedulingPolicy::kPriority;
  make(fake, options);
  const Request one = endless(1, tokens_from(1, 5), 60), two = endless(2, tokens_from(2, 5), 60);
  submit(one);
  submit(two);
  ASSERT_TRUE(engine_->run());
  expect_answer(one);
  expect_answer(two);
  expect_answer(urgent);
  EXPECT_LE(ended_at, 10u);
  EXPECT_EQ(engine_->stats().preemptions, 1);
  EXPECT_EQ(ended_, (std::vector<RequestId>{3, 1, 2}));
}

// One client holds every slot, or all the memory, with replies of hundreds of tokens, and has a
// hundred more in the queue.
class ClientsTest : public EngineLoadTest {
 protected:
  // How many steps each of ten short requests took, sent one after another from step 30 on.
  std::vector<uint64_t> short_requests_beside(FakeOptions fake, EngineOptions options = {}) {
    RequestId current = 1000;
    uint64_t now = 0, sent_at = 0;
    std::vector<uint64_t> steps;
    const auto send = [&] {
      ++current;
      Request request = endless(current, tokens_from(current, 5), 4);
      request.client = 2;
      submit(request);
      sent_at = now;
    };
    fake.on_wait = [&](uint64_t step) {
      now = step;
      if (step == 30) send();
    };
    sink_.on_output = [&](const RequestOutput& output) {
      if (output.id != current || !output.finished()) return;
      steps.push_back(now - sent_at);
      steps.size() < 10 ? send() : engine_->drain();
    };
    make(fake, options);
    std::vector<Request> requests;
    for (RequestId id = 1; id <= 100; ++id) {
      requests.push_back(endless(id, tokens_from(id, 40), 300));
      requests.back().client = 1;
      submit(requests.back());
    }
    EXPECT_TRUE(engine_->run());
    for (const Request& request : requests) expect_answer(request);
    return steps;
  }

  static FakeOptions fake_of(int32_t slots, int32_t blocks) {
    FakeOptions fake;
    fake.capacity.max_model_tokens = 400;
    fake.capacity.max_sequences = slots;
    fake.capacity.num_blocks = blocks;
    return fake;
  }
};

TEST_F(ClientsTest, AShortRequestGetsASlotWhileAnotherClientHoldsAll) {
  const std::vector<uint64_t> steps = short_requests_beside(fake_of(4, 400));
  ASSERT_EQ(steps.size(), 10u);
  for (const uint64_t taken : steps) EXPECT_LE(taken, 8u);
  // Each took one slot for its four steps; the reply that gave way was the next to go on.
  EXPECT_LE(engine_->stats().preemptions, 10);
}

TEST_F(ClientsTest, AShortRequestGetsMemoryWhileAnotherClientHoldsAll) {
  const std::vector<uint64_t> steps = short_requests_beside(fake_of(8, 200));
  ASSERT_EQ(steps.size(), 10u);
  for (const uint64_t taken : steps) EXPECT_LE(taken, 12u);
}

TEST_F(ClientsTest, WithoutSharesItWaitsForWholeReplies) {
  EngineOptions options;
  options.share_by_client = false;
  const std::vector<uint64_t> steps = short_requests_beside(fake_of(4, 400), options);
  ASSERT_EQ(steps.size(), 10u);
  EXPECT_GT(steps[0], 1000u);
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
