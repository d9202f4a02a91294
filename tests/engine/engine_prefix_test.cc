// The prefix cache seen from outside: what is computed again and what is not, counted in tokens.
#include <gtest/gtest.h>

#include "tests/engine/engine_fixture.h"

namespace m2 {
namespace {

// Requests are submitted one after another's end, each by the output that ended the one before.
class EnginePrefixTest : public EngineFixture {
 protected:
  void SetUp() override {
    fake_.record = true;
    fake_.capacity.num_blocks = 200;
    fake_.capacity.max_step_tokens = 256;
  }

  // Answers the requests strictly one after another and checks each answer.
  void answer_in_turn(std::vector<Request> requests) {
    make(fake_, options_);
    size_t next = 1;
    sink_.on_output = [&](const RequestOutput& output) {
      if (!output.finished() || next == requests.size()) return;
      submit(requests[next++]);
      if (next == requests.size()) engine_->drain();
    };
    submit(requests[0]);
    if (requests.size() == 1) engine_->drain();
    const Status status = engine_->run();
    ASSERT_TRUE(status) << status.error().message;
    expect_idle();
    for (const Request& request : requests) expect_answer(request);
  }

  int32_t cached(RequestId id) const { return sink_.heard(id).cached_tokens; }

  // All tokens that all steps computed.
  int64_t computed_tokens() const {
    int64_t tokens = 0;
    for (const auto& step : executor_->recorded()) {
      tokens += static_cast<int64_t>(step.tokens.size());
    }
    return tokens;
  }

  std::vector<TokenId> prompt_and_reply(const Request& request) const {
    std::vector<TokenId> tokens = request.prompt;
    const Reply reply = reference_reply(request, fake_.capacity);
    tokens.insert(tokens.end(), reply.tokens.begin(), reply.tokens.end());
    return tokens;
  }

  FakeOptions fake_;
  EngineOptions options_;
};

TEST_F(EnginePrefixTest, HitsAtEveryBlockOffset) {
  const std::vector<TokenId> base = tokens_from(1, 40);
  std::vector<Request> requests;
  requests.push_back(endless(1, base, 1));
  for (int32_t shared = 0; shared <= 40; ++shared) {
    std::vector<TokenId> prompt(base.begin(), base.begin() + shared);
    const std::vector<TokenId> rest = tokens_from(1000 + shared, 7);
    prompt.insert(prompt.end(), rest.begin(), rest.end());
    requests.push_back(endless(2 + shared, std::move(prompt), 3));
  }
  answer_in_turn(std::move(requests));
  EXPECT_EQ(cached(1), 0);
  for (int32_t shared = 0; shared <= 40; ++shared) EXPECT_EQ(cached(2 + shared), shared / 4 * 4);
}

TEST_F(EnginePrefixTest, AFullHitStillComputesTheLastBlock) {
  std::vector<Request> requests;
  for (RequestId id = 1; id <= 2; ++id) requests.push_back(endless(id, tokens_from(1, 40), 1));
  for (RequestId id = 3; id <= 4; ++id) requests.push_back(endless(id, tokens_from(1, 41), 1));
  answer_in_turn(std::move(requests));
  EXPECT_EQ(cached(2), 36);  // 40 are held, but somebody must give the logits of the last
  EXPECT_EQ(cached(3), 40);
  EXPECT_EQ(cached(4), 40);
  EXPECT_EQ(computed_tokens(), 40 + 4 + 1 + 1);
  EXPECT_EQ(engine_->stats().prefix_queries, 40 + 40 + 41 + 41);
  EXPECT_EQ(engine_->stats().prefix_hits, 36 + 40 + 40);
}

TEST_F(EnginePrefixTest, TheNextTurnOfAConversationComputesOnlyWhatIsNew) {
  fake_.capacity.num_blocks = 1000;
  fake_.capacity.max_model_tokens = 3000;
  const Request first = endless(1, tokens_from(1, 2000), 100);
  std::vector<TokenId> conversation = prompt_and_reply(first);
  const std::vector<TokenId> question = tokens_from(2, 30);
  conversation.insert(conversation.end(), question.begin(), question.end());
  std::vector<Request> requests;
  requests.push_back(copy_of(first));
  requests.push_back(endless(2, conversation, 1));
  answer_in_turn(std::move(requests));
  // The reply's last token was never computed; of the 2,099 that were, full blocks are found.
  EXPECT_EQ(cached(2), 2096);
  EXPECT_EQ(computed_tokens(), 2000 + 99 + (2130 - 2096));
}

TEST_F(EnginePrefixTest, AReplyThatEndedByTokenIsHeldToItsEnd) {
  // The end token was computed by the row that was queued behind it.
  fake_.next_token = [](std::span<const TokenId> context) {
    return context.size() == 15 ? kEnd : TokenId{9};
  };
  make(fake_);
  Request first = make_request(1, tokens_from(1, 10), 50);
  std::vector<TokenId> prompt = first.prompt;
  prompt.insert(prompt.end(), {9, 9, 9, 9, 9, kEnd, 20, 21});
  sink_.on_output = [&](const RequestOutput& output) {
    if (output.id == 1 && output.finished()) {
      submit(endless(2, prompt, 2));
      engine_->drain();
    }
  };
  submit(first);
  ASSERT_TRUE(engine_->run());
  EXPECT_EQ(cached(2), 16);
  EXPECT_EQ(executor_->wrong_reads(), 0u);
}

// As the server submits n choices of one prompt.
TEST_F(EnginePrefixTest, RequestsThatComeTogetherShareTheirPromptInOneStep) {
  make(fake_, options_);
  std::vector<Request> requests;
  for (RequestId id = 1; id <= 4; ++id) requests.push_back(endless(id, tokens_from(1, 50), 3));
  answer(requests);
  EXPECT_EQ(executor_->recorded()[0].tokens.size(), 50u + 3 * 2);
  EXPECT_EQ(engine_->stats().prefix_hits, 3 * 48);
  EXPECT_EQ(cached(1), 0);
  for (RequestId id = 2; id <= 4; ++id) EXPECT_EQ(cached(id), 48);
}

TEST_F(EnginePrefixTest, ASaltSeesOnlyItsOwn) {
  std::vector<Request> requests;
  const char* const salts[] = {"", "one", "two", "one", "", "two"};
  for (RequestId id = 1; id <= 6; ++id) {
    requests.push_back(endless(id, tokens_from(1, 21), 2));
    requests.back().cache_salt = std::string(salts[id - 1]);
  }
  answer_in_turn(std::move(requests));
  for (RequestId id = 1; id <= 3; ++id) EXPECT_EQ(cached(id), 0);
  for (RequestId id = 4; id <= 6; ++id) EXPECT_EQ(cached(id), 20);
}

TEST_F(EnginePrefixTest, PromptLogprobsSkipTheCacheButFillIt) {
  std::vector<Request> requests;
  for (RequestId id = 1; id <= 3; ++id) requests.push_back(endless(id, tokens_from(1, 21), 2));
  requests[1].prompt_logprobs = 1;
  answer_in_turn(std::move(requests));
  EXPECT_EQ(cached(2), 0);
  EXPECT_EQ(sink_.heard(2).prompt_logprobs.size(), 20u);
  EXPECT_EQ(cached(3), 20);
}

TEST_F(EnginePrefixTest, WithoutCachingNothingIsShared) {
  options_.prefix_caching = false;
  std::vector<Request> requests;
  for (RequestId id = 1; id <= 2; ++id) requests.push_back(endless(id, tokens_from(1, 21), 2));
  answer_in_turn(std::move(requests));
  EXPECT_EQ(cached(2), 0);
  EXPECT_EQ(engine_->stats().prefix_queries, 0);
  EXPECT_EQ(computed_tokens(), 2 * (21 + 1));
}

TEST_F(EnginePrefixTest, WhatACancelledRequestComputedIsKept) {
  fake_.capacity.max_step_tokens = 8;
  fake_.on_wait = [this](uint64_t step) {
    if (step == 3) engine_->cancel(1);  // steps 1 … 4 of its prompt are queued
    if (step == 4) {
      submit(endless(2, tokens_from(1, 60), 2));
      engine_->drain();
    }
  };
  make(fake_);
  submit(endless(1, tokens_from(1, 60), 2));
  ASSERT_TRUE(engine_->run());
  expect_answer(endless(2, tokens_from(1, 60), 2));
  EXPECT_EQ(cached(2), 32);
  expect_idle();
}

// Two share the first's blocks, which it lets go of while the second still reads them.
TEST_F(EnginePrefixTest, BlocksOfACancelledRequestStayForThoseThatShareThem) {
  fake_.capacity.num_blocks = 20;  // of 4 tokens: no room to be careless with
  Request second = endless(2, tokens_from(1, 34), 20), third = endless(3, tokens_from(3, 30), 20);
  fake_.on_wait = [&](uint64_t step) {
    if (step != 2) return;
    engine_->cancel(1);
    submit(third);  // takes every block that came free
    engine_->drain();
  };
  make(fake_);
  submit(endless(1, tokens_from(1, 34), 20));
  submit(second);
  ASSERT_TRUE(engine_->run());
  expect_answer(second);
  expect_answer(third);
  EXPECT_EQ(cached(2), 32);
  expect_idle();
}

// The second is preempted while both run, and finds the shared blocks again, which the first holds.
TEST_F(EnginePrefixTest, APreemptedSequenceSharesAgain) {
  fake_.capacity.num_blocks = 20;
  make(fake_);
  const Request first = endless(1, tokens_from(1, 34), 36),
                second = endless(2, tokens_from(1, 34), 36);
  submit(first);
  submit(second);
  run_dry();
  expect_answer(first);
  expect_answer(second);
  EXPECT_GT(engine_->stats().preemptions, 0);
  // 34 and 2 at the start; a restart computes at most what the second had said and a block.
  const int64_t each_once = 34 + 35 + 2 + 35;
  EXPECT_LE(computed_tokens(), each_once + engine_->stats().preemptions * (36 + 4));
}

// Several conversations take turns, as chat clients do: each turn computes its question, the last
// partial block and nothing else, however the others come between.
TEST_F(EnginePrefixTest, ConversationsThatInterleaveComputeOnlyWhatIsNew) {
  fake_.capacity.num_blocks = 2000;
  fake_.capacity.max_model_tokens = 3000;
  constexpr RequestId kConversations = 3, kTurns = 6;
  std::vector<std::vector<TokenId>> history(kConversations);
  std::vector<Request> requests;
  int64_t fresh = 0;
  for (RequestId turn = 0; turn < kTurns; ++turn) {
    for (RequestId who = 0; who < kConversations; ++who) {
      const auto held = static_cast<int64_t>(history[who].empty() ? 0 : history[who].size() - 1);
      const std::vector<TokenId> question = tokens_from(100 * who + turn, turn == 0 ? 500 : 37);
      history[who].insert(history[who].end(), question.begin(), question.end());
      requests.push_back(endless(1 + turn * kConversations + who, history[who], 25));
      fresh += static_cast<int64_t>(history[who].size()) - held / 4 * 4 + 24;
      history[who] = prompt_and_reply(requests.back());
    }
  }
  answer_in_turn(std::move(requests));
  EXPECT_EQ(computed_tokens(), fresh);
}

TEST_F(EnginePrefixTest, EvictsTheLongestUnusedAndTheTailFirst) {
  fake_.capacity.num_blocks = 20;  // 80 tokens
  std::vector<Request> requests;
  requests.push_back(endless(1, tokens_from(1, 33), 1));  // 8 full blocks
  requests.push_back(endless(2, tokens_from(2, 33), 1));  // 8 more
  requests.push_back(endless(3, tokens_from(1, 33), 1));  // uses the first again
  requests.push_back(endless(4, tokens_from(4, 33), 1));  // needs 9: 2's go, from the tail
  requests.push_back(endless(5, tokens_from(1, 33), 1));
  requests.push_back(endless(6, tokens_from(2, 33), 1));
  answer_in_turn(std::move(requests));
  EXPECT_EQ(cached(3), 32);
  EXPECT_EQ(cached(5), 32);
  // 20 blocks less 8 held for 1 and less 9 in use by 4 leave 3 blocks of 2's chain: its head.
  EXPECT_EQ(cached(6), 12);
}

TEST_F(EnginePrefixTest, APreemptedSequenceFindsItsBlocksAgain) {
  fake_.capacity.num_blocks = 12;  // 48 tokens for two sequences of 31
  make(fake_);
  const Request first = endless(1, tokens_from(1, 17), 14),
                second = endless(2, tokens_from(2, 17), 14);
  submit(first);
  submit(second);
  run_dry();
  expect_answer(first);
  expect_answer(second);
  EXPECT_GT(engine_->stats().preemptions, 0);
  // Without the cache a preemption would repeat all that was computed.
  EXPECT_LT(computed_tokens(), 2 * 30 + 20);
}

}  // namespace
}  // namespace m2
