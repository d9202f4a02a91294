#include "server/replicas.h"

#include <gtest/gtest.h>

#include <numeric>
#include <thread>

#include "tests/server/test_server.h"

namespace m2 {
namespace {

using Seat = Replicas::Seat;
using Prompt = std::vector<TokenId>;

// Prompts of different `who` share no prefix.
Prompt prompt(int32_t who, size_t tokens) {
  Prompt ids(tokens);
  std::iota(ids.begin(), ids.end(), who * 100000);
  return ids;
}

TEST(Replicas, OneTakesAll) {
  Replicas replicas(1);
  const Seat seat = replicas.take(prompt(1, 100), "", 50);
  EXPECT_EQ(seat.replica, 0);
  EXPECT_EQ(replicas.work_tokens(0), 150);
  replicas.release(seat);
  EXPECT_EQ(replicas.work_tokens(0), 0);
}

TEST(Replicas, EqualsTakeTurns) {
  Replicas replicas(3);
  std::vector<int> taken(3);
  for (int32_t i = 0; i < 9; ++i) {
    const Seat seat = replicas.take(prompt(i, 200), "", 10);
    ++taken[seat.replica];
    replicas.release(seat);
  }
  EXPECT_EQ(taken, (std::vector<int>{3, 3, 3}));
}

TEST(Replicas, LeastWorkFirst) {
  Replicas replicas(2);
  const Seat longer = replicas.take(prompt(1, 5000), "", 100);
  // Short ones go elsewhere until that is as much.
  for (int32_t i = 2; i < 12; ++i) {
    EXPECT_NE(replicas.take(prompt(i, 300), "", 100).replica, longer.replica);
  }
  EXPECT_EQ(replicas.work_tokens(1 - longer.replica), 10 * 400);
}

TEST(Replicas, AConversationStaysWhereItsPrefixIs) {
  Replicas replicas(4);
  std::vector<int32_t> home(8);
  for (int32_t i = 0; i < 8; ++i) home[i] = replicas.take(prompt(i, 1000), "", 100).replica;
  for (size_t turn = 1; turn < 5; ++turn) {
    for (int32_t i = 7; i >= 0; --i) {
      const Seat seat = replicas.take(prompt(i, 1000 + 200 * turn), "", 100);
      EXPECT_EQ(seat.replica, home[i]) << "conversation " << i << ", turn " << turn;
      // Only what is new counts as work, up to a stride.
      EXPECT_LE(seat.work_tokens, int64_t(200 + 100 + 2 * Replicas::kStrideTokens));
    }
  }
}

TEST(Replicas, UnlessItsReplicaHasSoMuchMoreToDo) {
  Replicas replicas(2);
  const int32_t home = replicas.take(prompt(1, 1000), "", 1).replica;
  std::vector<Seat> crowd;
  while (crowd.size() < 8) crowd.push_back(replicas.take(prompt(1, 1000), "", 256));
  // 8 replies of 256 at home are more than the 1000 tokens of the prompt.
  int away = 0;
  for (const Seat& seat : crowd) away += seat.replica != home ? 1 : 0;
  EXPECT_GT(away, 0);
  EXPECT_LT(away, 8);
}

TEST(Replicas, AFullQueueIsPassedOver) {
  Replicas replicas(2);
  const int32_t home = replicas.take(prompt(1, 1000), "", 1).replica;
  const auto full = [home](int32_t replica) { return replica == home; };
  for (int i = 0; i < 4; ++i) {
    EXPECT_NE(replicas.take(prompt(1, 1000), "", 256, full).replica, home);
  }
  const auto all = [](int32_t) { return true; };
  EXPECT_EQ(replicas.take(prompt(2, 10), "", 1, all).replica, home) << "then by work";
}

TEST(Replicas, SaltsPartPrefixes) {
  Replicas replicas(2);
  const Seat first = replicas.take(prompt(1, 1000), "a", 1);
  replicas.release(first);
  EXPECT_EQ(replicas.take(prompt(1, 1000), "b", 1).work_tokens, 1001) << "seen under another salt";
  EXPECT_LT(replicas.take(prompt(1, 1000), "a", 1).work_tokens, 100);
}

TEST(Replicas, ChoicesOfAPromptStayTogether) {
  Replicas replicas(2);
  const Seat first = replicas.take(prompt(1, 1000), "", 40);
  const Seat second = replicas.join(first, 40);
  EXPECT_EQ(second.replica, first.replica);
  EXPECT_EQ(second.work_tokens, 40) << "the prompt is computed once";
  replicas.release(first);
  replicas.release(second);
  EXPECT_EQ(replicas.work_tokens(first.replica), 0);
}

TEST(Replicas, MemoryIsBoundedAndTheOldestGoFirst) {
  Replicas replicas(2);
  const Prompt first = prompt(0, 32768), last = prompt(1, 32768);
  replicas.release(replicas.take(first, "", 1));
  for (int32_t i = 2; i < 140; ++i) replicas.release(replicas.take(prompt(i, 32768), "", 1));
  replicas.release(replicas.take(last, "", 1));
  const Seat again = replicas.take(last, "", 1);
  EXPECT_EQ(again.work_tokens, 1);
  replicas.release(again);
  EXPECT_EQ(replicas.take(first, "", 1).work_tokens, 32769) << "forgotten";
}

// A server over two engines.
class TwoEngines : public ::testing::Test {
 protected:
  void SetUp() override {
    const test::TestText* text = test::pocket_text();
    if (text == nullptr) GTEST_SKIP() << "models/pocket is not there";
    ServerOptions options;
    options.host = "127.0.0.1";
    options.port = 0;
    options.served_names = {"m"};
    server_ = std::move(*Server::create(options));
    ASSERT_TRUE(server_->start());
    ASSERT_TRUE(server_->open(
        {text->tokenizer.get(), text->chat_template.get(), {text->end_token}, SamplingDefaults{}}));
    const Capacity capacity{.num_blocks = 1024,
                            .block_tokens = 16,
                            .max_step_tokens = 512,
                            .max_sequences = 16,
                            .max_sample_rows = 64,
                            .max_model_tokens = 2048,
                            .vocab_size = 1024};
    std::vector<Engine*> all;
    for (int i = 0; i < 2; ++i) {
      executors_.push_back(
          std::make_unique<test::SlowExecutor>(capacity, *text->tokenizer, text->end_token));
      engines_.push_back(
          std::make_unique<Engine>(EngineOptions{}, *executors_[i], server_->sink()));
      all.push_back(engines_[i].get());
      threads_.emplace_back([engine = all.back()] { (void)engine->run(); });
    }
    server_->serve(all);
  }
  void TearDown() override {
    for (auto& engine : engines_) engine->stop();
    for (std::thread& thread : threads_) thread.join();
    if (server_) server_->stop();
  }
  int chat(const std::string& reply) {
    return test::ask(server_->port(),
                     test::post("/v1/chat/completions", test::ask_for(reply, R"("model":"m")")))
        .status;
  }
  int health() { return test::ask(server_->port(), test::get("/health")).status; }

  std::vector<std::unique_ptr<test::SlowExecutor>> executors_;
  std::unique_ptr<Server> server_;
  std::vector<std::unique_ptr<Engine>> engines_;
  std::vector<std::thread> threads_;
};

TEST_F(TwoEngines, ShareTheRequestsAndTheMetricsTellThemApart) {
  for (int i = 0; i < 8; ++i) EXPECT_EQ(chat("number " + std::to_string(i)), 200);
  EXPECT_GT(engines_[0]->stats().generation_tokens, 0);
  EXPECT_GT(engines_[1]->stats().generation_tokens, 0);
  const std::string metrics = test::ask(server_->port(), test::get("/metrics")).body;
  for (const char* engine : {"engine=\"0\"", "engine=\"1\""}) {
    const size_t at = metrics.find(std::string("vllm:request_success_total{") + engine);
    EXPECT_NE(at, std::string::npos) << engine;
    EXPECT_NE(metrics.find(std::string("vllm:num_requests_running{") + engine), std::string::npos);
  }
}

TEST_F(TwoEngines, OneThatDiedMakesTheServerUnhealthy) {
  EXPECT_EQ(health(), 200);
  executors_[1]->broken = true;
  int failed = 0;
  for (int i = 0; i < 4 && failed == 0; ++i) failed += chat("x") != 200 ? 1 : 0;
  EXPECT_EQ(failed, 1) << "every second request goes to the broken one";
  EXPECT_EQ(health(), 503);
  EXPECT_EQ(chat("x"), 503);
}

}  // namespace
}  // namespace m2
