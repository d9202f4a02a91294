// Requests that are wrong: each is refused by name, with its limit. Through real sockets.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <utility>

#include "server/openai/unknown_fields.h"
#include "tests/server/test_server.h"

namespace m2 {
namespace {

using namespace test;  // NOLINT: the helpers of these tests

class BadRequestTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!pocket_text()) GTEST_SKIP() << "models/pocket is not in this checkout";
  }
};

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

TEST_F(BadRequestTest, BadFieldsAreNamed) {
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
      // The field that was sent is named, and of two the one that counts.
      {R"("max_completion_tokens":5000)", 400, "length of the prompt or max_completion_tokens."},
      {R"("max_tokens":5,"max_completion_tokens":5000)", 400, "prompt or max_completion_tokens."},
      {R"("max_tokens":5000,"max_completion_tokens":null)", 400, "the prompt or max_tokens."},
      {R"("min_tokens":9,"max_completion_tokens":5)", 400, "at most max_completion_tokens (5)"},
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

TEST_F(BadRequestTest, ALengthErrorNamesTheFieldThatWasSent) {
  TestServer server;
  for (const std::string field : {"max_tokens", "max_completion_tokens"}) {
    const json::Value reply =
        parsed(server.chat(ask_for("x", fmt::format(R"("{}":5000)", field))).body);
    EXPECT_EQ(text_at(reply, "error.param"), field);
  }
}

TEST_F(BadRequestTest, BodiesThatAreNoRequest) {
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

TEST_F(BadRequestTest, BadCompletions) {
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

TEST_F(BadRequestTest, LongPromptsAreRefusedWithTheLimit) {
  TestServer server;
  for (const size_t bytes : {size_t{20'000}, size_t{5} << 20}) {
    const RawReply reply = server.chat(ask_for(std::string(bytes, 'q')));
    EXPECT_EQ(reply.status, 400);
    EXPECT_NE(reply.body.find("maximum context length is 2048 tokens"), std::string::npos);
  }
  std::string ids = "5";
  for (int i = 0; i < 3000; ++i) ids += ",5";
  const RawReply text = ask(server.port(), post("/v1/completions", "{\"prompt\":[" + ids + "]}"));
  EXPECT_EQ(text.status, 400);
  EXPECT_EQ(text_at(parsed(text.body), "error.param"), "prompt");
  const RawReply cut =
      server.chat(ask_for(std::string(20'000, 'q'), R"("truncate_prompt_tokens":99)"));
  EXPECT_EQ(cut.status, 200);
  EXPECT_EQ(at(parsed(cut.body), "usage.prompt_tokens").as_int(), 99);
}

TEST_F(BadRequestTest, LogprobsAreBounded) {
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

}  // namespace
}  // namespace m2
