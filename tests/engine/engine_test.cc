#include "engine/engine.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "tests/engine/engine_fixture.h"

namespace m2 {
namespace {

class EngineTest : public EngineFixture {};

TEST_F(EngineTest, AnswersOneRequest) {
  make();
  answer(make_request(1, {5, 6, 7}, 20));
}

TEST_F(EngineTest, AnswersMoreThanFitAtOnce) {
  make();
  std::vector<Request> requests;
  for (RequestId id = 1; id <= 40; ++id) {
    requests.push_back(make_request(id, tokens_from(id, 1 + static_cast<int>(id)), 30));
  }
  answer(requests);
}

TEST_F(EngineTest, EndsAtTheEndTokenAndKeepsIt) {
  FakeOptions fake;
  fake.next_token = [](std::span<const TokenId> context) {
    return context.size() == 6 ? kEnd : TokenId{9};
  };
  make(fake);
  submit(make_request(1, {5, 6, 7}, 20));
  run_dry();
  const Reply reply = sink_.heard(1).reply;
  EXPECT_EQ(reply.tokens, (std::vector<TokenId>{9, 9, 9, kEnd}));
  EXPECT_EQ(reply.finish, FinishReason::kStop);
  EXPECT_EQ(reply.stop_token, kEnd);
}

TEST_F(EngineTest, EndsAtAStopIdOfTheRequestEvenWithIgnoreEos) {
  FakeOptions fake;
  fake.next_token = [](std::span<const TokenId> context) {
    return context.size() < 8 ? kEnd : TokenId{33};
  };
  make(fake);
  Request request = endless(1, {5, 6, 7}, 20);
  request.stop.stop_token_ids = {33};
  submit(request);
  run_dry();
  const Reply reply = sink_.heard(1).reply;
  EXPECT_EQ(reply.tokens, (std::vector<TokenId>{kEnd, kEnd, kEnd, kEnd, kEnd, 33}));
  EXPECT_EQ(reply.stop_token, 33);
}

TEST_F(EngineTest, EndsAtTheLongestSequence) {
  make();
  const Request request = endless(1, tokens_from(1, 120), 1000);
  answer(request);
  EXPECT_EQ(sink_.heard(1).reply.tokens.size(), 8u);
  EXPECT_EQ(sink_.heard(1).reply.finish, FinishReason::kLength);
}

TEST_F(EngineTest, QueuesTheNextStepBeforeItReadsTheTokensOfThisOne) {
  std::vector<std::string> events;
  FakeOptions fake;
  fake.on_forward = [&](uint64_t step) { events.push_back("forward " + std::to_string(step)); };
  fake.on_wait = [&](uint64_t step) { events.push_back("wait " + std::to_string(step)); };
  make(fake);
  answer(endless(1, {5, 6, 7}, 3));
  const std::vector<std::string> wanted{"forward 1", "forward 2", "wait 1",
                                        "forward 3", "wait 2",    "wait 3"};
  EXPECT_EQ(events, wanted);  // and no step 4: an end by count is known ahead
}

TEST_F(EngineTest, TakesTheNewestTokenFromTheDevice) {
  FakeOptions fake;
  fake.record = true;
  make(fake);
  answer(endless(1, {5, 6, 7}, 4));
  const auto& steps = executor_->recorded();
  ASSERT_EQ(steps.size(), 4u);
  EXPECT_EQ(steps[0].tokens, (std::vector<TokenId>{5, 6, 7}));
  for (size_t i = 1; i < steps.size(); ++i) {
    EXPECT_EQ(steps[i].tokens, std::vector<TokenId>{kTokenFromDevice});
    EXPECT_EQ(steps[i].rows[0].context_tokens, 2 + static_cast<int32_t>(i));
  }
}

TEST_F(EngineTest, DoesNotSampleTheRowBehindAnEndToken) {
  FakeOptions fake;
  fake.record = true;
  fake.next_token = [](std::span<const TokenId> context) {
    return context.size() == 5 ? kEnd : TokenId{9};
  };
  make(fake);
  submit(make_request(1, {5, 6, 7}, 20));
  run_dry();
  const auto& steps = executor_->recorded();
  ASSERT_EQ(steps.size(), 4u);  // three draws, and the row that was queued behind the last
  EXPECT_EQ(steps[3].rows.size(), 1u);
  EXPECT_TRUE(steps[3].samples.empty());
}

TEST_F(EngineTest, CountsWhatItDoes) {
  make();
  std::vector<Request> requests{};
  requests.push_back(endless(1, {5, 6, 7}, 4));
  requests.push_back(endless(2, {8, 9}, 3));
  answer(requests);
  const EngineStats& stats = engine_->stats();
  EXPECT_EQ(stats.prompt_tokens, 5);
  EXPECT_EQ(stats.generation_tokens, 7);
  EXPECT_EQ(stats.blocks_total, 64);
  EXPECT_EQ(executor_->steps(), 4u);
  EXPECT_EQ(stats.preemptions, 0);
  EXPECT_NE(stats.heartbeat_ns, 0);
  EXPECT_TRUE(engine_->healthy());
}

TEST_F(EngineTest, CancelFreesBlocksWithinAStepAndSilences) {
  FakeOptions fake;
  int waits = 0;
  fake.on_wait = [&](uint64_t) {
    ++waits;
    if (waits == 3) engine_->cancel(1);
    if (waits == 4) {  // the very next turn: only request 2 holds blocks
      EXPECT_EQ(sink_.heard(1).reply.tokens.size(), 3u);
      EXPECT_EQ(sink_.heard(2).reply.tokens.size(), 3u);
    }
    if (waits == 5) {
      EXPECT_EQ(engine_->stats().blocks_used, 2);
    }
  };
  make(fake);
  const Request kept = endless(2, {8, 9, 10, 11}, 8);
  submit(endless(1, tokens_from(1, 40), 50));
  submit(kept);
  run_dry();
  EXPECT_EQ(sink_.heard(1).reply.tokens.size(), 3u);
  EXPECT_FALSE(sink_.heard(1).finished);
  expect_answer(kept);
}

TEST_F(EngineTest, CancelReachesWaitingRequestsAndThoseInTheInbox) {
  FakeOptions fake;
  fake.capacity.max_sequences = 1;
  fake.on_wait = [&](uint64_t step) {
    if (step == 2) engine_->cancel(2);
  };
  make(fake);
  const Request first = endless(1, {5, 6, 7}, 10), last = endless(4, {5, 6}, 3);
  submit(first);
  submit(endless(2, {5, 6, 7, 8}, 10));
  submit(endless(3, {5, 6, 7, 9}, 10));
  submit(last);
  engine_->cancel(3);
  engine_->cancel(99);
  run_dry();
  expect_answer(first);
  expect_answer(last);
  EXPECT_TRUE(sink_.heard(2).reply.tokens.empty());
  EXPECT_TRUE(sink_.heard(3).reply.tokens.empty());
}

TEST_F(EngineTest, DrawsWithTheSeedOfEachRequest) {
  make();
  std::vector<Request> requests;
  for (RequestId id = 1; id <= 3; ++id) requests.push_back(endless(id, {5, 6, 7}, 10));
  requests[2].sampling.seed = requests[0].sampling.seed;
  answer(requests);
  EXPECT_NE(sink_.heard(1).reply.tokens, sink_.heard(2).reply.tokens);
  EXPECT_EQ(sink_.heard(1).reply.tokens, sink_.heard(3).reply.tokens);
}

TEST_F(EngineTest, GivesLogprobs) {
  FakeOptions fake;
  fake.capacity.max_sample_rows = 5;
  fake.capacity.max_sequences = 4;
  make(fake);
  std::vector<Request> requests;
  for (RequestId id = 1; id <= 3; ++id) {
    requests.push_back(endless(id, tokens_from(3, 30), 10));
    requests.back().sampling.num_logprobs = 2;
    if (id != 2) requests.back().prompt_logprobs = 3;
  }
  answer(requests);
}

// Allows everything and then changes its mind.
class FickleConstraint : public Constraint {
 public:
  bool fill_mask(std::span<uint32_t>) override { return false; }
  bool accept(int32_t) override { return ++tokens_ < 4; }
  bool finished() const override { return false; }

 private:
  int tokens_ = 0;
};

TEST_F(EngineTest, ATokenThatTheGrammarRejectsEndsThatRequestOnly) {
  make();
  Request request = endless(1, {5, 6, 7}, 10);
  request.constraint = std::make_unique<FickleConstraint>();
  ASSERT_TRUE(engine_->submit(std::move(request)));
  const Request other = endless(2, {8, 9}, 10);
  submit(other);
  run_dry();
  const Heard heard = sink_.heard(1);
  EXPECT_EQ(heard.reply.finish, FinishReason::kError);
  EXPECT_EQ(heard.reply.tokens.size(), 3u);
  EXPECT_TRUE(heard.finished);
  ASSERT_TRUE(heard.error);
  EXPECT_EQ(heard.error->kind, ErrorKind::kInternal);
  expect_answer(other);
  EXPECT_TRUE(engine_->healthy());
}

TEST_F(EngineTest, TakesRequestsAndCancelsFromManyThreads) {
  EngineOptions options;
  options.max_waiting = 1 << 20;
  make({}, options);
  std::thread runner([&] { EXPECT_TRUE(engine_->run()); });
  std::vector<std::thread> clients;
  constexpr RequestId kEach = 100;
  for (RequestId client = 0; client < 4; ++client) {
    clients.emplace_back([this, client] {
      for (RequestId i = 0; i < kEach; ++i) {
        const RequestId id = 1 + client * kEach + i;
        ASSERT_TRUE(engine_->submit(endless(id, tokens_from(id, 5), 5 + static_cast<int>(id % 7))));
        if (id % 5 == 0) engine_->cancel(id);
        EXPECT_GE(engine_->stats().running, 0);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  engine_->drain();
  runner.join();
  for (RequestId id = 1; id <= 4 * kEach; ++id) {
    if (id % 5 == 0) continue;
    expect_answer(endless(id, tokens_from(id, 5), 5 + static_cast<int>(id % 7)));
  }
  expect_idle();
}

}  // namespace
}  // namespace m2
