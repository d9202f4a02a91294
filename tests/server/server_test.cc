// The server as a whole: routes, keys, errors, overload, ends. Through real sockets.
#include "server/server.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/server/test_server.h"

namespace m2 {
namespace {

using namespace test;  // NOLINT: the helpers of these tests

class ServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!pocket_text()) GTEST_SKIP() << "models/pocket is not in this checkout";
  }
  static void wait_until(const std::function<bool()>& done) {
    for (int i = 0; i < 4000 && !done(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    EXPECT_TRUE(done());
  }
};

TEST_F(ServerTest, Routes) {
  TestServer server;
  EXPECT_EQ(ask(server.port(), get("/health")).status, 200);
  EXPECT_EQ(ask(server.port(), get("/ping")).status, 200);
  EXPECT_EQ(ask(server.port(), post("/ping", "")).status, 200);
  EXPECT_EQ(ask(server.port(), get("/version")).body, R"({"version":"1.2.3"})");
  EXPECT_EQ(ask(server.port(), get("/load")).body, R"({"server_load":0})");
  const json::Value models = parsed(ask(server.port(), get("/v1/models?x=y")).body);
  EXPECT_EQ(text_at(models, "data.0.id"), "Org/Model");
  EXPECT_EQ(text_at(models, "data.1.id"), "short");
  EXPECT_EQ(at(models, "data.0.max_model_len").as_int(), TestServer::kContext);
  for (const char* path : {"/v1/models/Org/Model", "/v1/models/Org%2FModel", "/v1/models/short"}) {
    EXPECT_EQ(ask(server.port(), get(path)).status, 200) << path;
  }
  EXPECT_EQ(ask(server.port(), get("/v1/models/other")).status, 404);
  EXPECT_EQ(ask(server.port(), get("/v1/nothing")).status, 404);
  EXPECT_EQ(ask(server.port(), get("/%")).status, 404);
  const RawReply wrong = ask(server.port(), get("/v1/chat/completions"));
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.field("allow"), "POST");
  EXPECT_EQ(ask(server.port(), "DELETE /health HTTP/1.1\r\nHost: a\r\n\r\n").status, 405);
  EXPECT_EQ(ask(server.port(), "GE /health HTTP/1.1\r\nHost: a\r\n\r\n").status, 405);
}

TEST_F(ServerTest, ARootPathMayBeLeftOnByAProxy) {
  ServerOptions options;
  options.root_path = "/llm";
  TestServer server(std::move(options));
  EXPECT_EQ(ask(server.port(), get("/llm/v1/models")).status, 200);
  EXPECT_EQ(ask(server.port(), get("/v1/models")).status, 200);
  EXPECT_EQ(ask(server.port(), get("/llmv1/models")).status, 404);
}

TEST_F(ServerTest, KeysGuardAllButTheOpenRoutes) {
  ServerOptions options;
  options.api_keys = {"secret", "second"};
  TestServer server(std::move(options));
  for (const char* path : {"/health", "/ping", "/version", "/metrics"}) {
    EXPECT_EQ(ask(server.port(), get(path)).status, 200) << path;
  }
  for (const char* path : {"/v1/models", "/v1/models/short", "/load", "/tokenize", "/unknown",
                           "//health", "/v1/../health", "/%2e%2e/health/x"}) {
    const RawReply reply = ask(server.port(), get(path));
    EXPECT_EQ(reply.status, 401) << path;
    EXPECT_EQ(at(parsed(reply.body), "error.code").as_int(), 401);
  }
  EXPECT_EQ(ask(server.port(), post("/v1/chat/completions", ask_for("x"))).status, 401);
  const auto with = [&](const char* field) {
    return ask(server.port(), get("/v1/models", std::string(field) + "\r\n")).status;
  };
  EXPECT_EQ(with("Authorization: Bearer secret"), 200);
  EXPECT_EQ(with("authorization: bearer second"), 200);
  EXPECT_EQ(with("X-Api-Key: secret"), 200);
  EXPECT_EQ(with("Authorization: Bearer secre"), 401);
  EXPECT_EQ(with("Authorization: Bearer secrets"), 401);
  EXPECT_EQ(with("Authorization: Bearer "), 401);
  EXPECT_EQ(with("Authorization: secret"), 401);
}

TEST_F(ServerTest, AWrongKeyIsToldFromNone) {
  ServerOptions options;
  options.api_keys = {"secret"};
  TestServer server(std::move(options));
  const auto said = [&](const char* fields) {
    return text_at(parsed(ask(server.port(), get("/v1/models", fields)).body), "error.message");
  };
  EXPECT_NE(said("").find("needed"), std::string::npos);
  EXPECT_NE(said("Authorization: secret\r\n").find("Bearer KEY"), std::string::npos);
  EXPECT_NE(said("Authorization: Bearer other\r\n").find("not one that"), std::string::npos);
  EXPECT_NE(said("X-Api-Key: other\r\n").find("not one that"), std::string::npos);
}

// One key's many requests line up behind each other, not before another key's first one.
TEST_F(ServerTest, EachKeyGetsItsShare) {
  ServerOptions options;
  options.api_keys = {"many", "few"};
  TestServer server(std::move(options), {}, /*max_sequences=*/1);
  std::mutex mutex;
  std::string ended;  // whose requests, in the order of their ends
  std::string long_text;
  for (int i = 0; i < 60; ++i) long_text += "word ";
  std::vector<std::thread> clients;
  const auto send = [&](const std::string& key) {
    const int64_t waiting = server.engine->stats().waiting + server.engine->stats().running;
    clients.emplace_back([&, key] {
      const RawReply reply =
          ask(server.port(), post("/v1/chat/completions", ask_for("</think>" + long_text),
                                  "Authorization: Bearer " + key + "\r\n"));
      EXPECT_EQ(reply.status, 200) << reply.body;
      std::lock_guard lock(mutex);
      ended += key.substr(0, 1);
    });
    wait_until([&] {
      const EngineStats& stats = server.engine->stats();
      return stats.waiting + stats.running > waiting;
    });
  };
  // Slow enough that none ends while they come; what counts is the order, not the time.
  server.executor->delay_us = 50'000;
  for (int i = 0; i < 5; ++i) send("many");
  send("few");
  server.executor->delay_us = 500;
  for (std::thread& client : clients) client.join();
  EXPECT_LT(ended.find('f'), 3u) << ended;
}

TEST_F(ServerTest, CrossOrigin) {
  ServerOptions options;
  options.allowed_origins = {"https://a.example"};
  options.api_keys = {"k"};
  TestServer server(std::move(options));
  const auto preflight = [&](const char* origin) {
    return ask(server.port(),
               fmt::format("OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: a\r\nOrigin: {}\r\n"
                           "Access-Control-Request-Method: POST\r\n"
                           "Access-Control-Request-Headers: authorization\r\n\r\n",
                           origin));
  };
  const RawReply allowed = preflight("https://a.example");
  EXPECT_EQ(allowed.status, 204);
  EXPECT_EQ(allowed.field("access-control-allow-origin"), "https://a.example");
  EXPECT_EQ(allowed.field("access-control-allow-headers"), "authorization");
  EXPECT_EQ(preflight("https://b.example").status, 403);
  const RawReply other = ask(server.port(), get("/health", "Origin: https://b.example\r\n"));
  EXPECT_EQ(other.field("access-control-allow-origin"), "");
}

TEST_F(ServerTest, RequestIdsComeBack) {
  TestServer server;
  const RawReply reply =
      ask(server.port(), post("/v1/chat/completions", ask_for("x"), "X-Request-Id: my-1\r\n"));
  EXPECT_EQ(reply.field("x-request-id"), "my-1");
  EXPECT_EQ(text_at(parsed(reply.body), "id"), "chatcmpl-my-1");
  const RawReply odd =
      ask(server.port(), post("/v1/chat/completions", ask_for("x"), "X-Request-Id: a\"<b>\r\n"));
  EXPECT_EQ(text_at(parsed(odd.body), "id").find('<'), std::string::npos);
}

TEST_F(ServerTest, ARequestMayBringItsId) {
  TestServer server;
  EXPECT_EQ(text_at(parsed(server.chat(ask_for("x", R"("request_id":"mine")")).body), "id"),
            "chatcmpl-mine");
  // The header's comes first, as in vLLM.
  const std::string both = post("/v1/completions", R"({"prompt":"reply:x","request_id":"mine"})",
                                "X-Request-Id: header\r\n");
  EXPECT_EQ(text_at(parsed(ask(server.port(), both).body), "id"), "cmpl-header");
  EXPECT_EQ(server.chat(ask_for("x", R"("request_id":5)")).status, 400);
}

TEST_F(ServerTest, ANewServerTellsHowFarItIs) {
  std::atomic<int> percent{41};
  ServerOptions options;
  options.starting = [&] { return fmt::format("downloading {} %", percent.load()); };
  TestServer server(std::move(options), {}, 16, false);
  EXPECT_EQ(ask(server.port(), get("/health")).body, R"({"status":"downloading 41 %"})");
  percent = 42;
  const RawReply health = ask(server.port(), get("/ping"));
  EXPECT_EQ(health.status, 503);
  EXPECT_EQ(health.body, R"({"status":"downloading 42 %"})");
  for (const char* open : {"/metrics", "/version"}) {
    EXPECT_EQ(ask(server.port(), get(open)).status, 200) << open;
  }
  const std::string requests[] = {post("/v1/chat/completions", ask_for("x")),
                                  post("/v1/completions", R"({"prompt":"x"})"),
                                  post("/tokenize", R"({"prompt":"x"})"),
                                  post("/detokenize", R"({"tokens":[1]})"),
                                  get("/v1/models"),
                                  get("/v1/models/short"),
                                  get("/load")};
  for (const std::string& request : requests) {
    const RawReply reply = ask(server.port(), request);
    EXPECT_EQ(reply.status, 503) << request;
    EXPECT_EQ(reply.field("retry-after"), "1") << request;
    EXPECT_EQ(text_at(parsed(reply.body), "error.type"), "ServiceUnavailableError");
    EXPECT_NE(reply.body.find("the server is starting: downloading 42 %"), std::string::npos)
        << reply.body;
  }
  EXPECT_EQ(ask(server.port(), get("/nowhere")).status, 404);
  server.server->serve({server.engine.get()});
  EXPECT_EQ(ask(server.port(), get("/health")).status, 200);
  EXPECT_EQ(server.chat(ask_for("x")).status, 200);
}

// A reply that goes on until it is stopped.
std::string endless(const std::string& members = "") {
  return ask_for("</think>" + std::string(50, 'a'),
                 R"("ignore_eos":true,"max_tokens":1500)" + members);
}

TEST_F(ServerTest, AClientThatLeavesIsCancelled) {
  for (const bool stream : {true, false}) {
    TestServer server;
    server.executor->delay_us = 20'000;
    {
      RawClient client(server.port());
      client.send(
          post("/v1/chat/completions", endless(stream ? R"(,"stream":true,"n":2)" : R"(,"n":2)")));
      wait_until([&] { return server.engine->stats().running == 2; });
    }
    wait_until([&] { return server.engine->stats().running == 0; });
    EXPECT_LT(server.engine->stats().generation_tokens, 2 * 1500);
    EXPECT_TRUE(server.server->wait_idle(std::chrono::seconds(10)));
    const std::string metrics = ask(server.port(), get("/metrics")).body;
    EXPECT_NE(metrics.find("finished_reason=\"abort\",model_name=\"Org/Model\"} 2"),
              std::string::npos)
        << metrics;
  }
}

TEST_F(ServerTest, AStopStringEndsTheSequenceInTheEngine) {
  TestServer server;
  server.executor->delay_us = 2'000;
  const RawReply reply = server.chat(
      ask_for("</think>one two", R"("ignore_eos":true,"max_tokens":1500,"stop":["two"])"));
  EXPECT_EQ(reply.status, 200);
  wait_until([&] { return server.engine->stats().running == 0; });
  EXPECT_LT(server.engine->stats().generation_tokens, 1500);
}

TEST_F(ServerTest, AFullQueueIs503) {
  EngineOptions engine_options;
  engine_options.max_waiting = 1;
  TestServer server({}, engine_options, 1);
  server.executor->delay_us = 20'000;
  std::vector<RawClient> clients;
  int refused = 0;
  for (int i = 0; i < 6; ++i) {
    clients.emplace_back(server.port());
    clients.back().send(post("/v1/chat/completions", endless(R"(,"stream":true)")));
    if (i == 0) wait_until([&] { return server.engine->stats().running == 1; });
  }
  wait_until([&] { return server.engine->stats().waiting == 1; });
  const RawReply last = server.chat(endless());
  EXPECT_EQ(last.status, 503);
  EXPECT_NE(last.field("retry-after"), "");
  EXPECT_NE(last.body.find("at most 1 may; try again in 1 s"), std::string::npos) << last.body;
  refused += last.status == 503;
  EXPECT_EQ(refused, 1);
}

TEST_F(ServerTest, AFaultReachesEveryRequestAndHealth) {
  TestServer server;
  server.executor->delay_us = 5'000;
  RawClient stream(server.port()), whole(server.port());
  stream.send(post("/v1/chat/completions", endless(R"(,"stream":true)")));
  whole.send(post("/v1/chat/completions", endless()));
  const std::string begun = stream.read_until("\"content\":\"a");
  EXPECT_NE(begun.find("200 OK"), std::string::npos);
  server.executor->broken = true;
  const std::string rest = stream.read_until("[DONE]");
  EXPECT_NE(rest.find("\"error\":{"), std::string::npos) << rest;
  EXPECT_EQ(whole.read_reply().status, 500);
  wait_until([&] { return ask(server.port(), get("/health")).status == 503; });
  EXPECT_EQ(server.chat(ask_for("x")).status, 503);
}

TEST_F(ServerTest, DrainRefusesTheNewAndFinishesTheOpen) {
  TestServer server;
  server.executor->delay_us = 1'000;
  RawClient client(server.port());
  client.send(post("/v1/chat/completions", ask_for("</think>to the end",
                                                   R"("stream":true,"ignore_eos":true,
                                                    "max_tokens":300)")));
  wait_until([&] { return server.engine->stats().running == 1; });
  server.server->drain();
  EXPECT_EQ(ask(server.port(), get("/health")).status, 503);
  const RawReply refused = server.chat(ask_for("x"));
  EXPECT_EQ(refused.status, 503);
  EXPECT_NE(refused.field("retry-after"), "");
  const RawReply reply = client.read_reply();
  EXPECT_NE(reply.body.find("[DONE]"), std::string::npos);
  EXPECT_TRUE(server.server->wait_idle(std::chrono::seconds(20)));
}

TEST_F(ServerTest, StopEndsOpenStreamsWithAnError) {
  TestServer server;
  server.executor->delay_us = 5'000;
  RawClient client(server.port());
  client.send(post("/v1/chat/completions", endless(R"(,"stream":true)")));
  client.read_until("\"content\":\"a");
  std::thread stopping([&] { server.server->stop(); });
  EXPECT_NE(client.read_until("[DONE]").find("\"error\":{"), std::string::npos);
  EXPECT_TRUE(client.closed());
  stopping.join();
}

TEST_F(ServerTest, Metrics) {
  TestServer server;
  server.chat(ask_for("</think>hello"));
  const std::string text = ask(server.port(), get("/metrics")).body;
  for (const char* name :
       {"vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc",
        "vllm:gpu_cache_usage_perc", "vllm:prompt_tokens_total", "vllm:generation_tokens_total",
        "vllm:num_preemptions_total", "vllm:prefix_cache_queries_total",
        "vllm:prefix_cache_hits_total", "vllm:request_success_total",
        "vllm:time_to_first_token_seconds_bucket", "vllm:inter_token_latency_seconds_bucket",
        "vllm:time_per_output_token_seconds_bucket", "vllm:e2e_request_latency_seconds_bucket",
        "vllm:request_prompt_tokens_bucket", "vllm:request_generation_tokens_bucket",
        "vllm:request_params_n_bucket", "vllm:request_params_max_tokens_bucket",
        "vllm:cache_config_info"}) {
    EXPECT_NE(text.find(std::string("\n") + name + "{"), std::string::npos) << name;
  }
  EXPECT_NE(text.find("vllm:e2e_request_latency_seconds_count{engine=\"0\",model_name=\"Org/"
                      "Model\"} 1"),
            std::string::npos)
      << text;
}

TEST_F(ServerTest, PingsBeforeTheFirstToken) {
  ServerOptions options;
  options.ping_interval = std::chrono::milliseconds(20);
  TestServer server(std::move(options));
  server.executor->delay_us = 300'000;
  RawClient client(server.port());
  client.send(post("/v1/chat/completions", ask_for("</think>x", R"("stream":true)")));
  const std::string text = client.read_until("[DONE]");
  EXPECT_LT(text.find(": ping\n\n"), text.find("data: "));
}

TEST_F(ServerTest, ManyAtOnce) {
  ServerOptions options;
  options.io_threads = 2;
  TestServer server(std::move(options), {}, 8);
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&, i] {
      RawClient client(server.port());
      for (int k = 0; k < 4; ++k) {
        const std::string text = fmt::format("reply {} of {}", k, i);
        client.send(post("/v1/chat/completions", ask_for("</think>" + text)));
        const RawReply reply = client.read_reply();
        if (reply.status == 200 &&
            reply.body.find("\"content\":\"" + text + "\"") != std::string::npos) {
          ++right;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 64);
}

}  // namespace
}  // namespace m2
