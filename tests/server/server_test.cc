// The server as a whole: routes, keys, errors, overload, ends. Through real sockets.
#include "server/server.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "server/unknown_fields.h"
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

TEST(UnknownFields, AreThoseThatARouteDoesNotRead) {
  EXPECT_TRUE(is_known_field(kChat, "tools"));
  EXPECT_TRUE(is_known_field(kTokenize, "tools"));
  EXPECT_FALSE(is_known_field(kCompletions, "tools"));
  EXPECT_TRUE(is_known_field(kDetokenize, "tokens"));
  EXPECT_TRUE(is_known_field(kCompletions, "user"));
  EXPECT_FALSE(is_known_field(kChat, "temprature"));
  EXPECT_FALSE(is_known_field(kChat, ""));
  EXPECT_FALSE(is_known_field(kChat, "zzz"));
}

struct BadRequest {
  std::string members;  // of a chat request
  int status;
  std::string said;  // in the message
};

TEST_F(ServerTest, BadFieldsAreNamed) {
  TestServer server;
  const std::string tool = R"({"type":"function","function":{"name":"f"}})";
  const BadRequest cases[] = {
      {R"("temperature":-0.1)", 400, "temperature"},
      {R"("temperature":2.5)", 400, "[0, 2]"},
      {R"("temperature":"hot")", 400, "temperature must be a number"},
      {R"("temperature":true)", 400, "temperature"},
      {R"("temperature":1e999)", 400, ""},
      {R"("top_p":0)", 400, "top_p must be in (0, 1]"},
      {R"("top_p":1.1)", 400, "top_p"},
      {R"("min_p":-1)", 400, "min_p"},
      {R"("top_k":-2)", 400, "top_k"},
      {R"("top_k":1.5)", 400, "top_k must be an integer"},
      {R"("top_k":99999999999)", 400, "top_k"},
      {R"("top_k":123456789012345678901234567890)", 400, "top_k"},
      {R"("repetition_penalty":0)", 400, "repetition_penalty"},
      {R"("presence_penalty":2.1)", 400, "presence_penalty"},
      {R"("frequency_penalty":-3)", 400, "frequency_penalty"},
      {R"("n":0)", 400, "n must be in [1, 64], got 0"},
      {R"("n":65)", 400, "64"},
      {R"("n":16384)", 400, "n"},
      {R"("n":"2")", 400, "n must be an integer"},
      {R"("max_tokens":0)", 400, "max_tokens"},
      {R"("max_tokens":-1)", 400, "max_tokens"},
      {R"("max_tokens":2147483648)", 400, "max_tokens"},
      {R"("max_tokens":5000)", 400, "maximum context length is 2048 tokens"},
      {R"("max_completion_tokens":0)", 400, "max_completion_tokens"},
      {R"("min_tokens":-1)", 400, "min_tokens"},
      {R"("min_tokens":10,"max_tokens":5)", 400, "min_tokens"},
      {R"("stop":5)", 400, "stop"},
      {R"("stop":[""])", 400, "stop"},
      {R"("stop":["a","b","c","d","e","f","g","h","i","j","k","l","m","n","o","p","q"])", 400,
       "16"},
      {fmt::format(R"("stop":"{}")", std::string(2000, 'x')), 400, "1024"},
      {R"("stop_token_ids":[-1])", 400, "stop_token_ids"},
      {R"("stop_token_ids":[1024])", 400, "[0, 1023]"},
      {R"("stop_token_ids":["a"])", 400, "stop_token_ids"},
      {R"("allowed_token_ids":[])", 400, "allowed_token_ids"},
      {R"("allowed_token_ids":[4294967296])", 400, "allowed_token_ids"},
      {R"("bad_words":[1])", 400, "bad_words"},
      {R"("logit_bias":{"x":1})", 400, "logit_bias"},
      {R"("logit_bias":{"1024":1})", 400, "logit_bias"},
      {R"("logit_bias":{"-1":1})", 400, "logit_bias"},
      {R"("logit_bias":{"1":"a"})", 400, "logit_bias"},
      {R"("logit_bias":[1])", 400, "logit_bias must be an object"},
      {R"("seed":1.5)", 400, "seed"},
      {R"("seed":99999999999999999999)", 400, "seed"},
      {R"("add_special_tokens":1)", 400, "add_special_tokens"},
      {R"("spaces_between_special_tokens":"no")", 400, "spaces_between_special_tokens"},
      {R"("length_penalty":"long")", 400, "length_penalty"},
      {R"("stream":"yes")", 400, "stream"},
      {R"("stream_options":{})", 400, "stream_options"},
      {R"("stream":true,"stream_options":{"include_usage":1})", 400,
       "stream_options.include_usage"},
      {R"("stream_interval":0)", 400, "stream_interval"},
      {R"("logprobs":5)", 400, "logprobs must be a boolean"},
      {R"("top_logprobs":3)", 400, "top_logprobs needs logprobs"},
      {R"("logprobs":true,"top_logprobs":21)", 400, "[0, 20]"},
      {R"("logprobs":true,"top_logprobs":-1)", 400, "top_logprobs"},
      {R"("prompt_logprobs":21)", 400, "prompt_logprobs"},
      {R"("prompt_logprobs":1,"stream":true)", 400, "prompt_logprobs"},
      {R"("priority":1)", 400, "priority"},
      {R"("truncate_prompt_tokens":-2)", 400, "truncate_prompt_tokens"},
      {fmt::format(R"("cache_salt":"{}")", std::string(300, 'x')), 400, "cache_salt"},
      {R"("model":5)", 400, "model"},
      {R"("model":"gpt-4")", 404, "The model `gpt-4` does not exist."},
      {R"("tools":5)", 400, "tools must be an array"},
      {R"("tools":[5])", 400, "tools[0]"},
      {R"("tools":[{"type":"function"}])", 400, "tools[0].function.name"},
      {R"("tools":[{"type":"function","function":{"name":"f","parameters":[]}}])", 400,
       "parameters"},
      {fmt::format(R"("tools":[{}],"tool_choice":"required")", tool), 501, "tool_choice"},
      {fmt::format(R"("tools":[{}],"tool_choice":{{"type":"function"}})", tool), 501,
       "tool_choice"},
      {R"("tool_choice":"maybe")", 400, "tool_choice"},
      {R"("response_format":{"type":"json_object"})", 501, "response_format"},
      {R"("response_format":{"type":"json_schema","json_schema":{}})", 501, "response_format"},
      {R"("response_format":"text")", 400, "response_format"},
      {R"("structured_outputs":{"regex":"(a+)+b"})", 501, "structured_outputs"},
      {R"("guided_json":{})", 501, "guided_json"},
      {R"("use_beam_search":true)", 501, "use_beam_search"},
      {R"("chat_template":"{{ x }}")", 501, "chat_template"},
      {R"("chat_template_kwargs":{"tokenize":true})", 400, "tokenize"},
      {R"("chat_template_kwargs":[])", 400, "chat_template_kwargs"},
      {R"("continue_final_message":true,"add_generation_prompt":true)", 400,
       "continue_final_message"},
      {R"("messages":[])", 400, "messages"},
      {R"("messages":5)", 400, "messages must be an array"},
      {R"("messages":["hi"])", 400, "messages[0] must be an object"},
      {R"("messages":[{"role":"user","content":"a"},{"content":"x"}])", 400, "messages[1].role"},
      {R"("messages":[{"role":"user","content":7}])", 400, "messages[0].content"},
      {R"("messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}])", 400,
       "text-only model"},
      {R"("messages":[{"role":"user"}])", 400, "messages[0].content is missing"},
      {R"("messages":[{"role":"alien","content":"x"}])", 400, "alien"},
  };
  for (const BadRequest& bad : cases) {
    // Members of the later of two equal names count.
    const RawReply reply = server.chat(ask_for("x", bad.members));
    EXPECT_EQ(reply.status, bad.status) << bad.members << reply.body;
    const json::Value error = parsed(reply.body);
    EXPECT_NE(text_at(error, "error.message").find(bad.said), std::string::npos)
        << bad.members << " → " << reply.body;
    EXPECT_EQ(at(error, "error.code").as_int(), bad.status);
    EXPECT_TRUE(at(error, "error.type").is_string());
  }
  // Nothing of all that has harmed it.
  EXPECT_EQ(server.chat(ask_for("</think>fine")).status, 200);
  EXPECT_TRUE(server.engine->healthy());
}

TEST_F(ServerTest, BodiesThatAreNoRequest) {
  TestServer server;
  for (const std::string& body :
       {std::string(""), std::string("{"), std::string("[]"), std::string("null"),
        std::string("{}"), std::string("{\"messages\":}"), std::string("\x00\x01\xff", 3),
        std::string("{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\xfe\"}]}"),
        std::string(R"({"messages":[{"role":"user","content":"\ud800"}]})"),
        std::string(R"({"messages":[{"role":"user","content":"x"}],"temperature":NaN})"),
        "{\"messages\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}",
        R"({"a":)" + std::string(500, '[') + std::string(500, ']') + "}"}) {
    for (const char* path : {"/v1/chat/completions", "/v1/completions", "/tokenize"}) {
      const RawReply reply = ask(server.port(), post(path, body));
      EXPECT_EQ(reply.status, 400) << path << " " << body.substr(0, 80);
      EXPECT_TRUE(at(parsed(reply.body), "error.message").is_string());
    }
  }
}

TEST_F(ServerTest, BadCompletions) {
  TestServer server;
  for (const auto& [members, said] : std::initializer_list<std::pair<std::string, std::string>>{
           {R"("prompt":5)", "prompt"},
           {R"("prompt":[])", "prompt"},
           {R"("prompt":"")", "empty"},
           {R"("prompt":[1,-2])", "[0, 1023]"},
           {R"("prompt":[1,1024])", "[0, 1023]"},
           {R"("prompt":[[1],[99999999]])", "[0, 1023]"},
           {R"("prompt":[1,"a"])", "prompt"},
           {R"("prompt":[{}])", "prompt"},
           {R"("prompt":"x","max_tokens":0)", "max_tokens"},
           {R"("prompt":"x","logprobs":21)", "logprobs"},
           {R"("prompt":"x","suffix":"y")", "suffix"},
           {R"("prompt_embeds":"x")", "prompt_embeds"},
           {fmt::format(R"("prompt":"{}")", std::string(1 << 20, 'x')), "2048"}}) {
    const RawReply reply = ask(server.port(), post("/v1/completions", "{" + members + "}"));
    EXPECT_GE(reply.status, 400) << members.substr(0, 80);
    EXPECT_NE(reply.body.find(said), std::string::npos) << members.substr(0, 80) << reply.body;
  }
  std::string prompts;
  for (int i = 0; i < 1025; ++i) prompts += prompts.empty() ? "\"a\"" : ",\"a\"";
  EXPECT_EQ(ask(server.port(), post("/v1/completions", "{\"prompt\":[" + prompts + "]}")).status,
            400);
}

TEST_F(ServerTest, LongPromptsAreRefusedWithTheLimit) {
  TestServer server;
  for (const size_t bytes : {size_t{20'000}, size_t{5} << 20}) {
    const RawReply reply = server.chat(ask_for(std::string(bytes, 'q')));
    EXPECT_EQ(reply.status, 400);
    EXPECT_NE(reply.body.find("maximum context length is 2048 tokens"), std::string::npos);
  }
  const RawReply cut =
      server.chat(ask_for(std::string(20'000, 'q'), R"("truncate_prompt_tokens":99)"));
  EXPECT_EQ(cut.status, 200);
  EXPECT_EQ(at(parsed(cut.body), "usage.prompt_tokens").as_int(), 99);
}

TEST_F(ServerTest, LogprobsAreBounded) {
  ServerOptions options;
  options.limits.max_logprob_entries = 1000;
  TestServer server(std::move(options));
  const std::string many = R"("max_tokens":100,"n":2,"logprobs":true,"top_logprobs":5)";
  const RawReply reply = server.chat(ask_for("</think>x", many));
  EXPECT_EQ(reply.status, 400);
  EXPECT_NE(reply.body.find("1200"), std::string::npos) << reply.body;
  EXPECT_EQ(server.chat(ask_for("</think>x", many + R"(,"stream":true)")).status, 200);
  EXPECT_EQ(server.chat(ask_for(std::string(800, 'q'), R"("prompt_logprobs":20)")).status, 400);
}

TEST_F(ServerTest, ANewServerLoads) {
  TestServer server({}, {}, 16, false);
  EXPECT_EQ(ask(server.port(), get("/health")).status, 503);
  EXPECT_EQ(ask(server.port(), get("/metrics")).status, 200);
  const RawReply reply = server.chat(ask_for("x"));
  EXPECT_EQ(reply.status, 503);
  EXPECT_NE(reply.field("retry-after"), "");
  EXPECT_NE(reply.body.find("loading"), std::string::npos);
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
