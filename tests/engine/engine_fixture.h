// An engine over a FakeExecutor, with a sink that hears it. Invariants are checked at every step.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "tests/engine/reference.h"

namespace m2 {

constexpr TokenId kEnd = 1;

// Tokens that look random, without the end token.
inline std::vector<TokenId> tokens_from(uint64_t seed, int32_t count) {
  std::vector<TokenId> tokens;
  for (int32_t i = 0; i < count; ++i) {
    seed = fake_mix(seed + 1, 7);
    tokens.push_back(static_cast<TokenId>(2 + seed % 98));
  }
  return tokens;
}

inline Request make_request(RequestId id, std::vector<TokenId> prompt, int32_t max_tokens) {
  Request request;
  request.id = id;
  request.prompt = std::move(prompt);
  request.stop.max_tokens = max_tokens;
  request.stop.eos_token_ids = {kEnd};
  request.sampling.seed = id;
  return request;
}

// Says exactly max_tokens tokens.
inline Request endless(RequestId id, std::vector<TokenId> prompt, int32_t max_tokens) {
  Request request = make_request(id, std::move(prompt), max_tokens);
  request.stop.ignore_eos = true;
  return request;
}

class EngineFixture : public testing::Test {
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

  // Answers everything that was submitted; the engine takes nothing more after it.
  void run_dry() {
    engine_->drain();
    const Status status = engine_->run();
    ASSERT_TRUE(status) << status.error().message;
    expect_idle();
  }

  void expect_idle() {
    EXPECT_EQ(executor_->wrong_reads(), 0u);
    EXPECT_EQ(engine_->stats().running, 0);
    EXPECT_EQ(engine_->stats().waiting, 0);
    EXPECT_EQ(engine_->stats().blocks_used, 0);
  }

  void expect_answer(const Request& request, const MakeConstraint& make_constraint = {}) {
    expect_right(sink_.heard(request.id), request, executor_->capacity(), make_constraint);
  }

  // Submits, answers and checks.
  void answer(const Request& request) {
    submit(request);
    run_dry();
    expect_answer(request);
  }
  void answer(const std::vector<Request>& requests) {
    for (const Request& request : requests) submit(request);
    run_dry();
    for (const Request& request : requests) expect_answer(request);
  }

  HearingSink sink_;
  std::unique_ptr<FakeExecutor> executor_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace m2
