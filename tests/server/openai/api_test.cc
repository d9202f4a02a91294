// The APIs' way from an HTTP request to a session, where its timing has to be held still.
#include "server/openai/api.h"

#include <gtest/gtest.h>

#include <future>

#include "tests/server/test_server.h"

namespace m2 {
namespace {

using namespace test;  // NOLINT: the helpers of these tests

int status_of(HttpExchange& exchange) {
  for (int i = 0; i < 4000; ++i) {
    if (const auto taken = exchange.take(false); taken.head) return taken.head->status;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return 0;
}

// What waits for a text thread when the server begins to drain has been taken: it is answered.
TEST(OpenAiApi, DrainingKeepsWhatWaitsForATextThread) {
  if (!pocket_text()) GTEST_SKIP() << "models/pocket is not in this checkout";
  const TestText& pocket = *pocket_text();
  ServerOptions options;
  options.served_names = {"m"};
  options.text_in_threads = 1;
  const ServerModel model{
      pocket.tokenizer.get(), pocket.chat_template.get(), {pocket.end_token}, SamplingDefaults{}};
  ServerMetrics metrics("m");
  Service service(options, model, metrics);
  OpenAiApi api(options, model, service);
  const Capacity capacity{.num_blocks = 256,
                          .block_tokens = 16,
                          .max_step_tokens = 512,
                          .max_sequences = 4,
                          .max_sample_rows = 16,
                          .max_model_tokens = 1024,
                          .vocab_size = 1024};
  SlowExecutor executor(capacity, *pocket.tokenizer, pocket.end_token);
  Engine engine({}, executor, service);
  std::thread engine_thread([&] { (void)engine.run(); });
  service.serve({&engine});

  std::promise<void> gate;
  ASSERT_TRUE(service.post([opened = gate.get_future().share()] { opened.wait(); }));
  const auto send = [&] {
    auto exchange = std::make_shared<HttpExchange>(1 << 20);
    HttpRequest request;
    request.body = ask_for("</think>yes");
    api.chat(std::move(request), exchange);
    return exchange;
  };
  const auto before = send();
  service.drain();
  const auto after = send();
  EXPECT_EQ(status_of(*after), 503);
  gate.set_value();
  EXPECT_EQ(status_of(*before), 200);

  engine.stop();
  engine_thread.join();
  service.stop();
  service.join();  // the thread that submitted `before` may still hold the engine
}

}  // namespace
}  // namespace m2
