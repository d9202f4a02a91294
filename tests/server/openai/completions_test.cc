// Completions, tokenize and detokenize through real sockets.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/server/test_server.h"

namespace m2 {
namespace {

using namespace test;  // NOLINT: the helpers of these tests

class CompletionsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!pocket_text()) GTEST_SKIP() << "models/pocket is not in this checkout";
    server_ = std::make_unique<TestServer>();
  }
  json::Value complete(const std::string& body) {
    const RawReply reply = ask(server_->port(), post("/v1/completions", body));
    EXPECT_EQ(reply.status, 200) << reply.body;
    return parsed(reply.body);
  }

  std::unique_ptr<TestServer> server_;
};

TEST_F(CompletionsTest, Text) {
  const json::Value value = complete(R"({"prompt":"reply: and on","max_tokens":50})");
  EXPECT_TRUE(text_at(value, "id").starts_with("cmpl-"));
  EXPECT_EQ(text_at(value, "object"), "text_completion");
  EXPECT_EQ(text_at(value, "choices.0.text"), " and on");
  EXPECT_EQ(text_at(value, "choices.0.finish_reason"), "stop");
  EXPECT_TRUE(at(value, "choices.0.logprobs").is_null());
}

TEST_F(CompletionsTest, SixteenTokensUnlessAskedOtherwise) {
  const json::Value value =
      complete(R"({"prompt":"reply:a b c d e f g h i j k l m n o p q r s t"})");
  EXPECT_EQ(at(value, "usage.completion_tokens").as_int(), 16);
}

TEST_F(CompletionsTest, ManyPrompts) {
  const json::Value value =
      complete(R"({"prompt":["reply:first","reply:second"],"n":2,"max_tokens":50})");
  ASSERT_EQ(at(value, "choices").as_array().size(), 4u);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(at(value, fmt::format("choices.{}.index", i)).as_int(), i);
    EXPECT_EQ(text_at(value, fmt::format("choices.{}.text", i)), i < 2 ? "first" : "second");
  }
}

TEST_F(CompletionsTest, TokensInAndOut) {
  const json::Value tokens =
      parsed(ask(server_->port(), post("/tokenize", R"({"prompt":"reply:hello wörld"})")).body);
  EXPECT_EQ(at(tokens, "count").as_int(),
            static_cast<int64_t>(at(tokens, "tokens").as_array().size()));
  EXPECT_EQ(at(tokens, "max_model_len").as_int(), TestServer::kContext);
  const std::string ids = json::dump(at(tokens, "tokens"));
  EXPECT_EQ(text_at(complete(fmt::format(R"({{"prompt":{}}})", ids)), "choices.0.text"),
            "hello wörld");
  EXPECT_EQ(text_at(complete(fmt::format(R"({{"prompt":[{}]}})", ids)), "choices.0.text"),
            "hello wörld");
  const json::Value text = parsed(
      ask(server_->port(), post("/detokenize", fmt::format(R"({{"tokens":{}}})", ids))).body);
  EXPECT_EQ(text_at(text, "prompt"), "reply:hello wörld");
}

TEST_F(CompletionsTest, TokenizeAConversation) {
  const json::Value tokens =
      parsed(ask(server_->port(),
                 post("/tokenize",
                      R"({"messages":[{"role":"user","content":"hi"}],"return_token_strs":true})"))
                 .body);
  const json::Value strings = at(tokens, "token_strs");
  ASSERT_TRUE(strings.is_array());
  EXPECT_EQ(strings.as_array()[0].as_string(), "]~!b[");
}

TEST_F(CompletionsTest, EchoAndLogprobsScoreAText) {
  const json::Value value =
      complete(R"({"prompt":"reply:ab","echo":true,"logprobs":1,"max_tokens":0})");
  EXPECT_EQ(text_at(value, "choices.0.text"), "reply:ab");
  EXPECT_EQ(at(value, "usage.completion_tokens").as_int(), 0);
  const json::Value logprobs = at(value, "choices.0.logprobs");
  const size_t count = static_cast<size_t>(at(value, "usage.prompt_tokens").as_int());
  EXPECT_EQ(at(logprobs, "tokens").as_array().size(), count);
  EXPECT_EQ(at(logprobs, "text_offset").as_array().size(), count);
  EXPECT_EQ(at(logprobs, "token_logprobs").as_array().size(), count);
  EXPECT_TRUE(at(logprobs, "token_logprobs.0").is_null());
  EXPECT_TRUE(at(logprobs, "token_logprobs.1").is_number());
  EXPECT_EQ(at(logprobs, "text_offset.0").as_int(), 0);
  std::string text;
  const json::Value tokens = at(logprobs, "tokens");
  for (const json::Value& token : tokens.as_array()) text += token.as_string();
  EXPECT_EQ(text, "reply:ab");
}

TEST_F(CompletionsTest, PromptLogprobsBesideEcho) {
  const json::Value value = complete(
      R"({"prompt":"reply:ab","echo":true,"logprobs":3,"prompt_logprobs":1,"max_tokens":2})");
  const size_t count = static_cast<size_t>(at(value, "usage.prompt_tokens").as_int());
  const json::Value shown = at(value, "choices.0.prompt_logprobs");
  ASSERT_TRUE(shown.is_array());
  ASSERT_EQ(shown.as_array().size(), count);
  EXPECT_TRUE(shown.as_array()[0].is_null());
  // Each list has the tops that were asked for it: the token itself is the best one here.
  EXPECT_EQ(shown.as_array()[1].as_object().size(), 1u);
  EXPECT_EQ(at(value, "choices.0.logprobs.top_logprobs.1").as_object().size(), 3u);
  // Not asked for: not there, though echo needs them.
  const json::Value plain =
      complete(R"({"prompt":"reply:ab","echo":true,"logprobs":0,"max_tokens":2})");
  EXPECT_TRUE(at(plain, "choices.0.prompt_logprobs").is_null());
}

// Tokens that are parts of characters have one text. An object has it once, with the best logprob.
TEST_F(CompletionsTest, TokensOfOneTextAreOneTopLogprob) {
  std::vector<TokenId> parts;
  for (TokenId id = 0; id < pocket_text()->tokenizer->vocab_size(); ++id) {
    const std::string_view bytes = pocket_text()->tokenizer->token_bytes(id);
    if (bytes.size() == 1 && static_cast<unsigned char>(bytes[0]) >= 0x80) parts.push_back(id);
  }
  ASSERT_GT(parts.size(), 3u);
  const std::string body =
      fmt::format(R"({{"prompt":"a","max_tokens":1,"allowed_token_ids":[{}],"logprobs":2,)"
                  R"("logprob_token_ids":[{},{}]}})",
                  parts[0], parts[1], parts[2]);
  // What was drawn is the better one, and then the worse one.
  for (const auto& [own, best] : {std::pair{-7.0f, "-7"}, std::pair{-200.0f, "-100"}}) {
    server_->executor->logprob = own;
    const RawReply reply = ask(server_->port(), post("/v1/completions", body));
    const std::string other = json::dump(std::string(pocket_text()->tokenizer->token_bytes(0)));
    const std::string wanted =
        fmt::format("\"top_logprobs\":[{{\"\uFFFD\":{},{}:-100}}]", best, other);
    EXPECT_NE(reply.body.find(wanted), std::string::npos) << wanted << "\n" << reply.body;
  }
}

// A text of exactly the context is scored: there is nothing to leave room for.
TEST_F(CompletionsTest, ATextThatFillsTheContextIsScored) {
  for (const int32_t tokens : {TestServer::kContext, TestServer::kContext + 1}) {
    std::string ids = "[5";
    for (int32_t i = 1; i < tokens; ++i) ids += fmt::format(",{}", 5 + i % 7);
    const RawReply reply =
        ask(server_->port(),
            post("/v1/completions",
                 fmt::format(R"({{"prompt":{}],"echo":true,"logprobs":0,"max_tokens":0}})", ids)));
    if (tokens > TestServer::kContext) {
      EXPECT_EQ(reply.status, 400);
      continue;
    }
    ASSERT_EQ(reply.status, 200) << reply.body;
    const json::Value value = parsed(reply.body);
    EXPECT_EQ(at(value, "usage.prompt_tokens").as_int(), tokens);
    EXPECT_EQ(at(value, "usage.completion_tokens").as_int(), 0);
    EXPECT_EQ(text_at(value, "choices.0.finish_reason"), "length");
    const json::Value values = at(value, "choices.0.logprobs.token_logprobs");
    ASSERT_EQ(values.as_array().size(), static_cast<size_t>(tokens));
    EXPECT_TRUE(values.as_array().back().is_number());
  }
}

TEST_F(CompletionsTest, AStreamSaysWhatADocumentSays) {
  for (const auto& members :
       {R"("max_tokens":50)", R"("max_tokens":50,"echo":true,"logprobs":0)", R"("max_tokens":3)"}) {
    const std::string body = std::string(R"({"prompt":"reply:ünï 你好 🙂 end",)") + members;
    const json::Value whole = complete(body + "}");
    std::string text, finish;
    for (const std::string& event : events_of(
             ask(server_->port(), post("/v1/completions", body + R"(,"stream":true})")).body)) {
      if (event == "[DONE]") continue;
      const json::Value value = parsed(event);
      text += text_at(value, "choices.0.text");
      if (!at(value, "choices.0.finish_reason").is_null()) {
        finish += text_at(value, "choices.0.finish_reason");
      }
    }
    EXPECT_EQ(text, text_at(whole, "choices.0.text"));
    EXPECT_EQ(finish, text_at(whole, "choices.0.finish_reason"));
  }
}

}  // namespace
}  // namespace m2
