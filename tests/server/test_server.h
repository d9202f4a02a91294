// A whole server for tests: real sockets, text and engine, over an executor that replies with what
// stands in the last user message after "reply:". Needs the tokenizer of models/pocket.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "engine/engine.h"
#include "json/json.h"
#include "server/server.h"
#include "tests/e2e/echo_executor.h"
#include "tests/server/raw_client.h"

namespace m2::test {

// As EchoExecutor, slower, with a fault on demand, and not so sure of what it draws.
class SlowExecutor : public Executor {
 public:
  SlowExecutor(Capacity capacity, const Tokenizer& tokenizer, TokenId end_token)
      : echo_(capacity, tokenizer, end_token) {}

  Capacity capacity() const override { return echo_.capacity(); }
  void forward(const StepPlan& plan) override { echo_.forward(plan); }
  void sample(const SamplePlan& plan) override { echo_.sample(plan); }
  Status wait(Deadline deadline, StepResult& result) override {
    std::this_thread::sleep_for(std::chrono::microseconds(delay_us));
    if (broken) return fail(ErrorKind::kInternal, "", "the device is gone");
    M2_TRY(echo_.wait(deadline, result));
    for (SampledRow& row : result.rows) row.logprob = logprob;
    return {};
  }

  std::atomic<int> delay_us{0};
  std::atomic<bool> broken{false};
  std::atomic<float> logprob{0};

 private:
  EchoExecutor echo_;
};

struct TestText {
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<ChatTemplate> chat_template;
  TokenId end_token = 0;
};

// Null where models/pocket is absent. Loaded once a process.
const TestText* pocket_text();

class TestServer {
 public:
  static constexpr int32_t kContext = 2048;

  explicit TestServer(ServerOptions options = {}, EngineOptions engine_options = {},
                      int32_t max_sequences = 16, bool serve = true);
  ~TestServer();

  uint16_t port() const { return server->port(); }
  RawReply chat(const std::string& body) const;  // a request's whole reply
  void stop_engine();

  std::unique_ptr<SlowExecutor> executor;
  std::unique_ptr<Server> server;
  std::unique_ptr<Engine> engine;

 private:
  std::thread engine_thread_;
};

// {"messages":[{"role":"user","content":"reply:…"}] and further members}
std::string ask_for(const std::string& reply, const std::string& members = "");

json::Value parsed(const std::string& text);
// The member at a path like "choices.0.message.content"; null where there is none.
json::Value at(const json::Value& value, const std::string& path);
std::string text_at(const json::Value& value, const std::string& path);

}  // namespace m2::test
