#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "tests/temporary_folder.h"
#include "tests/text/tiny_template.h"

namespace m2 {
namespace {

class ChatTemplateTest : public testing::Test {
 protected:
  std::string text(const ChatInput& input) {
    const auto chat = chat_->render(input);
    EXPECT_TRUE(chat.has_value()) << chat.error().message;
    if (!chat) return {};
    EXPECT_EQ(*chat_->render_text(input), chat->text);
    EXPECT_EQ(tokenizer_->decode(chat->tokens, false), chat->text);
    return chat->text;
  }

  std::unique_ptr<Tokenizer> tokenizer_ = tiny_tokenizer();
  std::unique_ptr<ChatTemplate> chat_ = load_template(kTinyTemplate, *tokenizer_);
};

TEST_F(ChatTemplateTest, RendersAToolLoop) {
  const ChatInput input = chat_input(
      R"([{"role": "user", "content": "w"},
          {"role": "assistant", "content": "<think>\nlook\n</think>\n\nok", "tool_calls": [
            {"function": {"name": "f", "arguments": {"s": "é", "n": 1.0, "o": {"a": [null]}}}}]},
          {"role": "tool", "content": "r"}])",
      R"([{"type": "function", "function": {"name": "f", "parameters": {"z": 1, "a": 1e30}}}])");
  EXPECT_EQ(
      text(input),
      "]~!b[]~b]system\nBe helpful.\n<tools>\n"
      "<tool>{\"name\": \"f\", \"parameters\": {\"z\": 1, \"a\": 1e+30}}</tool>\n"
      "</tools> as <minimax:tool_call>…</minimax:tool_call>[e~[\n"
      "]~b]user\nw[e~[\n]~b]ai\n<think>\nlook\n</think>\n\nok\n<minimax:tool_call>\n"
      "<invoke name=\"f\">\n<parameter name=\"s\">é</parameter>\n"
      "<parameter name=\"n\">1.0</parameter>\n"
      "<parameter name=\"o\">{\"a\": [null]}</parameter>\n</invoke>\n</minimax:tool_call>[e~[\n"
      "]~b]tool\n<response>r</response>[e~[\n]~b]ai\n<think>\n");
}

TEST_F(ChatTemplateTest, SpeaksItsControlTokens) {
  const auto chat = chat_->render(chat_input(R"([{"role": "user", "content": "user"}])"));
  ASSERT_TRUE(chat.has_value());
  ChatInput special = chat_input(R"([{"role": "user", "content": "user"}])");
  special.parse_special_in_text = true;
  EXPECT_EQ(chat->tokens, chat_->render(special)->tokens);
  const std::vector<int32_t> control = control_tokens(*tokenizer_, chat->tokens);
  EXPECT_EQ(control, (std::vector<int32_t>{268, 262, 263, 262, 263, 262, 270}));
}

// The next prompt of a tool loop starts with this prompt and the reply, token for token: that is
// what the prefix cache lives on.
TEST_F(ChatTemplateTest, APromptExtendsThePromptBefore) {
  const auto first = chat_->render(chat_input(R"([{"role": "user", "content": "w"}])"));
  const auto second = chat_->render(chat_input(
      R"([{"role": "user", "content": "w"},
          {"role": "assistant", "content": "ok", "reasoning_content": "look", "tool_calls": [
            {"function": {"name": "f", "arguments": {"k": "v"}}}]},
          {"role": "tool", "content": "r"}])"));
  ASSERT_TRUE(first.has_value() && second.has_value());
  const auto reply = tokenizer_->encode(
      "look\n</think>\n\nok\n<minimax:tool_call>\n<invoke name=\"f\">\n"
      "<parameter name=\"k\">v</parameter>\n</invoke>\n</minimax:tool_call>[e~[",
      AddedTokens::kParse);
  std::vector<int32_t> expected = first->tokens;
  expected.insert(expected.end(), reply->begin(), reply->end());
  ASSERT_GT(second->tokens.size(), expected.size());
  EXPECT_EQ(std::vector<int32_t>(second->tokens.begin(),
                                 second->tokens.begin() + static_cast<long>(expected.size())),
            expected);
}

TEST_F(ChatTemplateTest, NumbersKeepTheirForm) {
  // Every case of the JSON tests, through the template engine.
  const auto dumps = load_template("{{ v|tojson }}", *tokenizer_);
  std::ifstream file(M2_SOURCE_DIR "/tests/json/dumps.golden");
  std::string source, expected;
  int cases = 0;
  while (std::getline(file, source) && std::getline(file, expected)) {
    ChatInput input = chat_input("[]");
    input.kwargs.set("v", *json::parse(source, {}, true));
    const auto shown = dumps->render_text(input);
    ASSERT_TRUE(shown.has_value()) << source;
    EXPECT_EQ(*shown, expected);
    ++cases;
  }
  EXPECT_GT(cases, 900);
}

TEST_F(ChatTemplateTest, ErrorsNameTheirCause) {
  const auto raised = chat_->render(chat_input(R"([{"role": "tool", "content": "r"}])"));
  ASSERT_FALSE(raised.has_value());
  EXPECT_EQ(raised.error().kind, ErrorKind::kInvalidArgument);
  EXPECT_EQ(raised.error().field, "messages");
  EXPECT_NE(raised.error().message.find("a tool result without a call"), std::string::npos);
  const auto syntax = ChatTemplate::load("broken.jinja", "a\n{% for %}", *tokenizer_);
  ASSERT_FALSE(syntax.has_value());
  EXPECT_NE(syntax.error().message.find("broken.jinja:2"), std::string::npos);
  ChatInput no_list = chat_input("[]");
  no_list.messages = 3;
  EXPECT_FALSE(chat_->render(no_list).has_value());
}

TEST_F(ChatTemplateTest, VariablesCannotReplaceTheConversation) {
  ChatInput input = chat_input(R"([{"role": "user", "content": "real"}])");
  input.kwargs.set("messages", parse_json(R"([{"role": "user", "content": "fake"}])"));
  input.kwargs.set("add_generation_prompt", false);
  input.kwargs.set("identity", "I am M.");
  const std::string shown = text(input);
  EXPECT_EQ(shown, "]~!b[]~b]system\nI am M.[e~[\n]~b]user\nreal[e~[\n]~b]ai\n<think>\n");
}

TEST_F(ChatTemplateTest, ContinuesTheFinalMessage) {
  const auto continued = [&](const char* messages) {
    ChatInput input = chat_input(messages);
    input.continue_final_message = true;
    const std::string shown = text(input);
    return shown.substr(shown.rfind("]~b]"));
  };
  EXPECT_EQ(continued(R"([{"role": "user", "content": "q"},
                          {"role": "assistant", "content": "Paris is "}])"),
            "]~b]ai\nParis is ");
  EXPECT_EQ(continued(R"([{"role": "user", "content": "q"}, {"role": "assistant",
                          "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
                          "reasoning_content": "r"}])"),
            "]~b]ai\n<think>\nr\n</think>\n\nab");
  EXPECT_EQ(continued(R"([{"role": "user", "content": "cut he"}])"), "]~b]user\ncut he");

  // A turn that ends inside its reasoning opens it with the control token.
  ChatInput open = chat_input(R"([{"role": "user", "content": "q"},
                                  {"role": "assistant", "content": "<think>\nso <think>"}])");
  open.continue_final_message = true;
  const auto chat = chat_->render(open);
  ASSERT_TRUE(chat.has_value());
  EXPECT_EQ(control_tokens(*tokenizer_, chat->tokens),
            (std::vector<int32_t>{268, 262, 263, 262, 263, 262, 270}));
  EXPECT_TRUE(chat->text.ends_with("]~b]ai\n<think>\nso <think>"));

  for (const char* bad :
       {"[]", R"([{"role": "assistant"}])",
        R"([{"role": "user", "content": "q"}, {"role": "narrator", "content": "x"}])"}) {
    ChatInput input = chat_input(bad);
    input.continue_final_message = true;
    const auto refused = chat_->render(input);
    ASSERT_FALSE(refused.has_value()) << bad;
    EXPECT_EQ(refused.error().kind, ErrorKind::kInvalidArgument);
    EXPECT_EQ(refused.error().field, "continue_final_message");
  }

  // A template that trims would have trimmed the final space.
  const auto trimming = load_template("{{ messages[-1].content|trim }}[e~[", *tokenizer_);
  ChatInput input = chat_input(R"([{"role": "assistant", "content": "a b \n"}])");
  input.continue_final_message = true;
  EXPECT_EQ(*trimming->render_text(input), "a b");
}

TEST_F(ChatTemplateTest, StopsAtItsLimits) {
  TemplateLimits limits;
  limits.fuel = 100'000;
  limits.max_output_bytes = 1 << 20;
  const auto kind_of = [&](const std::string& source) {
    const auto chat = load_template(source, *tokenizer_, limits)->render(chat_input("[]"));
    return chat ? ErrorKind::kInternal : chat.error().kind;
  };
  EXPECT_EQ(kind_of("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"),
            ErrorKind::kTooLarge);
  EXPECT_EQ(kind_of("{{ 'x' * 2000000 }}"), ErrorKind::kTooLarge);
  EXPECT_EQ(kind_of("{% set n = namespace(x='xx') %}"
                    "{% for a in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}"),
            ErrorKind::kTooLarge);
  EXPECT_EQ(kind_of("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
            ErrorKind::kInvalidArgument);
  // The bound is on what comes out: 1 MiB passes.
  const auto fits = load_template("{{ 'x' * 1000000 }}", *tokenizer_, limits);
  EXPECT_EQ(fits->render_text(chat_input("[]"))->size(), 1'000'000u);
}

TEST_F(ChatTemplateTest, ATemplateThatHidesControlTokensIsRefused) {
  const auto hiding = load_template(
      "{% for m in messages %}{{ ']~b' ~ ']' ~ m.content }}{% endfor %}", *tokenizer_);
  ChatInput input = chat_input(R"([{"role": "user", "content": "q"}])");
  const auto refused = hiding->render(input);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, ErrorKind::kUnsupported);
  input.parse_special_in_text = true;
  EXPECT_EQ(hiding->render(input)->tokens, (std::vector<int32_t>{262, 'q'}));
}

TEST_F(ChatTemplateTest, RendersFromManyThreads) {
  const ChatInput input = chat_input(R"([{"role": "user", "content": "[e~[ hello"}])");
  const auto expected = chat_->render(input);
  ASSERT_TRUE(expected.has_value());
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        const auto chat = chat_->render(input);
        if (!chat || chat->tokens != expected->tokens) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(ReadChatTemplate, LooksInBothPlaces) {
  const test::TemporaryFolder temporary;
  const std::string& folder = temporary.path();
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream(folder + "/" + name, std::ios::binary) << text;
  };
  EXPECT_EQ(read_chat_template(folder).error().kind, ErrorKind::kNotFound);
  EXPECT_EQ(read_chat_template(folder + "/nowhere").error().kind, ErrorKind::kNotFound);
  write("tokenizer_config.json", R"({"bos_token": "x"})");
  EXPECT_EQ(read_chat_template(folder).error().kind, ErrorKind::kNotFound);
  write("tokenizer_config.json", R"({"chat_template": "one"})");
  EXPECT_EQ(*read_chat_template(folder), "one");
  write("tokenizer_config.json",
        R"({"chat_template": [{"name": "tool_use", "template": "no"},
                              {"name": "default", "template": "two"}]})");
  EXPECT_EQ(*read_chat_template(folder), "two");
  write("tokenizer_config.json", "{");
  EXPECT_EQ(read_chat_template(folder).error().kind, ErrorKind::kInvalidArgument);
  write("chat_template.jinja", "three");
  EXPECT_EQ(*read_chat_template(folder), "three");
}

}  // namespace
}  // namespace m2
