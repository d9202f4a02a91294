#include "engine/engine.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "tests/engine/reference.h"

namespace m2 {
namespace {

using std::chrono::milliseconds;

std::vector<TokenId> tokens_from(uint64_t seed, int32_t count) {
  std::vector<TokenId> tokens;
  for (int32_t i = 0; i < count; ++i) {
    seed = fake_mix(seed, 7);
    tokens.push_back(static_cast<TokenId>(seed % 100));
  }
  return tokens;
}

Request make_request(RequestId id, std::vector<TokenId> prompt, int32_t max_tokens) {
  Request request;
  request.id = id;
  request.prompt = std::move(prompt);
  request.stop.max_tokens = max_tokens;
  request.stop.eos_token_ids = {1};
  request.sampling.seed = id;
  return request;
}

class EngineTest : public testing::Test {
 protected:
  void make(FakeOptions fake = {}, EngineOptions options = {}) {
    options.check_invariants = true;
    executor_ = std::make_unique<FakeExecutor>(std::move(fake));
    engine_ = std::make_unique<Engine>(options, *executor_, sink_);
  }

  void submit(const Request& request) {
    const Status status = engine_->submit(copy_of(request));
    ASSERT_TRUE(status) << status.error().message;
  }

  // Answers everything that was submitted.
  void run_dry() {
    engine_->drain();
    const Status status = engine_->run();
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_EQ(executor_->wrong_reads(), 0u);
    EXPECT_EQ(engine_->stats().running, 0);
    EXPECT_EQ(engine_->stats().waiting, 0);
    EXPECT_EQ(engine_->stats().blocks_used, 0);
  }

  void expect_answer(const Request& request, const MakeConstraint& make_constraint = {}) {
    expect_right(sink_.heard(request.id), request, executor_->capacity(), make_constraint);
  }

  void answer(const Request& request) {
    submit(request);
    run_dry();
    expect_answer(request);
  }

  // Submits all, answers all, checks all.
  void answer(const std::vector<Request>& requests) {
    for (const Request& request : requests) submit(request);
    run_dry();
    for (const Request& request : requests) expect_answer(request);
  }

  HearingSink sink_;
  std::unique_ptr<FakeExecutor> executor_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineTest, AnswersOneRequest) {
  make();
  answer(make_request(1, {5, 6, 7}, 20));
}

TEST_F(EngineTest, AnswersManyAtOnce) {
  make();
  std::vector<Request> requests;
  for (RequestId id = 1; id <= 40; ++id) {
    requests.push_back(make_request(id, tokens_from(id, 1 + static_cast<int>(id)), 30));
  }
  answer(requests);
  EXPECT_GT(engine_->stats().preemptions, 0);  // 8 slots of up to 70 tokens in 256: it was tight
}

}  // namespace
}  // namespace m2
