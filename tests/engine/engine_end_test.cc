// How an engine ends or refuses: faults, stop, drain, and what it does not take.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "tests/engine/engine_fixture.h"

namespace m2 {
namespace {

using std::chrono::milliseconds;

class EngineEndTest : public EngineFixture {};

TEST_F(EngineEndTest, AFaultEndsEveryOpenRequestWithOneError) {
  FakeOptions fake;
  fake.capacity.max_sequences = 2;
  fake.fault_at_step = 4;
  fake.on_wait = [&](uint64_t step) {
    if (step == 4) submit(endless(5, {3}, 5));  // still in the inbox when the fault comes
  };
  make(fake);
  const Request done = endless(1, {5, 6, 7}, 2);
  submit(done);
  for (RequestId id = 2; id <= 4; ++id) submit(endless(id, {5, 6, 7}, 20));
  const Status status = engine_->run();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "injected fault at step 4");
  EXPECT_FALSE(engine_->healthy());
  expect_answer(done);
  for (RequestId id = 2; id <= 5; ++id) {
    const Heard heard = sink_.heard(id);
    EXPECT_TRUE(heard.finished);
    ASSERT_TRUE(heard.error) << "request " << id;
    EXPECT_EQ(heard.error->kind, ErrorKind::kInternal);
    EXPECT_EQ(heard.reply.finish, FinishReason::kError);
  }
  const Status refused = engine_->submit(endless(6, {3}, 5));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::kUnavailable);
  expect_idle();
}

TEST_F(EngineEndTest, AStepPastItsDeadlineIsAFault) {
  FakeOptions fake;
  fake.hang_at_step = 2;
  EngineOptions options;
  options.step_deadline = milliseconds(20);
  make(fake, options);
  submit(endless(1, {5, 6, 7}, 20));
  EXPECT_FALSE(engine_->run());
  EXPECT_FALSE(engine_->healthy());
  EXPECT_TRUE(sink_.heard(1).error);
}

TEST_F(EngineEndTest, ATokenOutsideTheVocabularyIsAFault) {
  FakeOptions fake;
  fake.next_token = [](std::span<const TokenId>) { return TokenId{100}; };
  make(fake);
  submit(endless(1, {5, 6, 7}, 20));
  const Status status = engine_->run();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "the executor drew token 100 of a vocabulary of 100");
  EXPECT_TRUE(sink_.heard(1).error);
}

TEST_F(EngineEndTest, StopAbortsWhatIsOpenAndLeavesTheExecutorIdle) {
  FakeOptions fake;
  fake.capacity.max_sequences = 1;
  fake.on_wait = [&](uint64_t step) {
    if (step == 3) engine_->stop();
  };
  make(fake);
  submit(endless(1, {5, 6, 7}, 50));
  submit(endless(2, {5, 6, 7}, 50));
  ASSERT_TRUE(engine_->run());
  for (RequestId id = 1; id <= 2; ++id) {
    const Heard heard = sink_.heard(id);
    EXPECT_TRUE(heard.finished);
    EXPECT_EQ(heard.reply.finish, FinishReason::kAbort);
    ASSERT_TRUE(heard.error);
    EXPECT_EQ(heard.error->kind, ErrorKind::kUnavailable);
  }
  EXPECT_TRUE(engine_->healthy());
  expect_idle();

  // Another engine can use the executor from here.
  HearingSink sink;
  Engine next({}, *executor_, sink);
  const Request request = endless(3, {5, 6, 7}, 5);
  ASSERT_TRUE(next.submit(copy_of(request)));
  next.drain();
  ASSERT_TRUE(next.run());
  expect_right(sink.heard(3), request, executor_->capacity());
}

// What a hanging step reads must not be freed: whoever stops the engine hears of it.
TEST_F(EngineEndTest, StopTellsOfAStepThatDoesNotEnd) {
  FakeOptions fake;
  fake.hang_at_step = 3;
  fake.on_forward = [&](uint64_t step) {
    if (step == 3) engine_->stop();
  };
  EngineOptions options;
  options.step_deadline = milliseconds(20);
  make(fake, options);
  submit(endless(1, {5, 6, 7}, 50));
  const Status status = engine_->run();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "step 3 passed its deadline");
  EXPECT_FALSE(engine_->healthy());
  EXPECT_EQ(sink_.heard(1).reply.finish, FinishReason::kAbort);
}

TEST_F(EngineEndTest, DrainAnswersWhatIsOpenAndRefusesMore) {
  FakeOptions fake;
  fake.on_wait = [&](uint64_t step) {
    if (step != 2) return;
    engine_->drain();
    const Status refused = engine_->submit(endless(2, {5}, 3));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, ErrorKind::kUnavailable);
  };
  make(fake);
  const Request request = endless(1, {5, 6, 7}, 10);
  submit(request);
  ASSERT_TRUE(engine_->run());
  expect_answer(request);
}

TEST_F(EngineEndTest, RefusesWhatCanNeverRun) {
  FakeOptions fake;
  fake.capacity.num_blocks = 10;  // of 4 tokens
  make(fake);
  const auto refused = [&](Request request, const char* field, const char* message) {
    const Status status = engine_->submit(std::move(request));
    ASSERT_FALSE(status) << message;
    EXPECT_EQ(status.error().kind, ErrorKind::kInvalidArgument);
    EXPECT_EQ(status.error().field, field);
    EXPECT_EQ(status.error().message, message);
  };
  refused(endless(1, {}, 5), "prompt", "the prompt is empty");
  refused(endless(1, {5}, 0), "max_tokens", "max_tokens must be at least 1, got 0");
  refused(endless(1, tokens_from(1, 128), 5), "prompt",
          "the prompt has 128 tokens, at most 127 leave room for a reply");
  refused(endless(1, tokens_from(1, 30), 12), "max_tokens",
          "30 prompt tokens and 12 for the reply need 11 KV blocks of 4 tokens, the cache has 10");
  answer(endless(1, tokens_from(1, 30), 11));  // exactly fits: the last token is never computed
}

TEST_F(EngineEndTest, RefusesWhenTooManyWait) {
  FakeOptions fake;
  fake.capacity.max_sequences = 2;
  EngineOptions options;
  options.max_waiting = 3;
  fake.on_wait = [&](uint64_t step) {
    if (step != 2) return;
    // Two run and one waits by now, so that there is room for two more.
    EXPECT_TRUE(engine_->submit(endless(4, {5}, 3)));
    EXPECT_TRUE(engine_->submit(endless(5, {5}, 3)));
    EXPECT_FALSE(engine_->submit(endless(6, {5}, 3)));
    engine_->cancel(3);  // room for one, once the engine has seen it
  };
  fake.on_forward = [&](uint64_t step) {
    if (step != 4) return;
    EXPECT_TRUE(engine_->submit(endless(7, {5}, 3)));
    EXPECT_FALSE(engine_->submit(endless(8, {5}, 3)));
  };
  make(fake, options);
  for (RequestId id = 1; id <= 3; ++id) submit(endless(id, {5, 6}, 20));
  const Status refused = engine_->submit(endless(9, {5}, 3));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::kUnavailable);
  EXPECT_EQ(refused.error().message, "3 requests are waiting already, at most 3 may");
  std::thread runner([&] { EXPECT_TRUE(engine_->run()); });
  // Bounded, so that a failure is not a hang.
  for (int i = 0; i < 5000 && sink_.finished() < 5; ++i) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_EQ(sink_.finished(), 5u);  // 1, 2, 4, 5 and 7
  engine_->drain();
  runner.join();
}

}  // namespace
}  // namespace m2
