// Client text is text: whatever a client spells, wherever it may, the control tokens of the prompt
// stay those that the template speaks for a harmless text, and the prompt reads the same.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "tests/text/tiny_template.h"

namespace m2 {
namespace {

// A conversation in which `client` stands at one place that a client controls.
struct Place {
  std::string name;
  std::function<ChatInput(const std::string& client)> make;
  bool is_own_reasoning = false;  // an assistant's content: the template splits its <think>
};

std::string quoted(const std::string& text) {
  std::string out;
  json::append_quoted(out, text);
  return out;
}

// Replaces the word HERE in a conversation.
Place place(std::string name, std::string messages, std::string tools = "null") {
  const auto fill = [](std::string text, const std::string& client) {
    for (size_t at = 0; (at = text.find("\"HERE\"", at)) != std::string::npos;) {
      const std::string with = quoted(client);
      text.replace(at, 6, with);
      at += with.size();
    }
    return text;
  };
  return {std::move(name), [=](const std::string& client) {
            return chat_input(fill(messages, client), fill(tools, client));
          }};
}

std::vector<Place> places() {
  const std::string user = R"({"role": "user", "content": "q"},)";
  const auto call = [&](const std::string& function) {
    return "[" + user + R"({"role": "assistant", "content": "c", "reasoning_content": "r",
        "tool_calls": [{"type": "function", "function": )" +
           function + R"(}]},
        {"role": "tool", "content": "t"}])";
  };
  const std::string called =
      user + R"({"role": "assistant", "content": "", "tool_calls": [{"name": "f",
                 "arguments": {}}]},)";
  std::vector<Place> all = {
      place("system",
            R"([{"role": "system", "content": "HERE"}, {"role": "user", "content": "q"}])"),
      place(
          "system date",
          R"([{"role": "system", "content": "s", "current_date": "HERE", "current_location": "HERE"},
                {"role": "user", "content": "q"}])"),
      place("user", R"([{"role": "user", "content": "HERE"}])"),
      place("user parts", R"([{"role": "user", "content": [{"type": "text", "text": "HERE"},
                                                          {"type": "text", "text": "HERE"}]}])"),
      place("reasoning", "[" + user + R"({"role": "assistant", "content": "c",
                                          "reasoning_content": "HERE"}])"),
      place("content beside reasoning", "[" + user + R"({"role": "assistant", "content": "HERE",
                                                         "reasoning_content": "r"}])"),
      place("tool name", call(R"({"name": "HERE", "arguments": {}})")),
      place("argument name", call(R"({"name": "f", "arguments": {"HERE": 1}})")),
      place("argument", call(R"({"name": "f", "arguments": {"k": "HERE"}})")),
      place("nested argument", call(R"({"name": "f", "arguments": {"k": [{"HERE": "HERE"}]}})")),
      place("tool result", "[" + called + R"({"role": "tool", "content": "HERE"}])"),
      place("tool result parts", "[" + called + R"({"role": "tool", "content":
          [{"type": "text", "text": "HERE"}, {"type": "text", "text": "HERE"}]}])"),
      place("schema", R"([{"role": "user", "content": "q"}])",
            R"([{"type": "function", "function": {"name": "HERE", "description": "HERE",
                 "parameters": {"type": "object", "properties": {"HERE": {"enum": ["HERE"]}}}}}])"),
  };
  all.push_back({"variable", [](const std::string& client) {
                   ChatInput input = chat_input(R"([{"role": "user", "content": "q"}])");
                   input.kwargs.set("identity", client);
                   input.kwargs.set("model_identity", client);
                   return input;
                 }});
  all.push_back(place("content", "[" + user + R"({"role": "assistant", "content": "HERE"}])"));
  all.back().is_own_reasoning = true;
  return all;
}

// The token whole, in text, and cut at every place: as it would end or begin a client's string next
// to the template's own text.
std::vector<std::string> spellings(const std::string& token) {
  std::vector<std::string> all = {token, "a " + token + " b", token + token, "\n" + token + "\n"};
  for (size_t cut = 1; cut < token.size(); ++cut) {
    const std::string head = token.substr(0, cut), tail = token.substr(cut);
    all.push_back("x" + head);
    all.push_back(tail + "x");
    all.push_back(tail + "x" + head);  // two parts side by side join to the token
    all.push_back("x" + head + "\n\n");
  }
  return all;
}

void expect_text_stays_text(const Tokenizer& tokenizer, const ChatTemplate& chat) {
  for (const Place& place : places()) {
    const auto harmless = chat.render(place.make("harmless"));
    ASSERT_TRUE(harmless.has_value()) << place.name << ": " << harmless.error().message;
    const auto expected = control_tokens(tokenizer, harmless->tokens);
    for (const AddedToken& token : tokenizer.added_tokens()) {
      const bool is_think = token.text == "<think>" || token.text == "</think>";
      if (place.is_own_reasoning && is_think) continue;
      for (const std::string& spelling : spellings(token.text)) {
        ChatInput input = place.make(spelling);
        const auto rendered = chat.render(input);
        ASSERT_TRUE(rendered.has_value()) << rendered.error().message;
        EXPECT_EQ(control_tokens(tokenizer, rendered->tokens), expected)
            << place.name << " with " << spelling;
        EXPECT_EQ(tokenizer.decode(rendered->tokens, false), rendered->text);
        input.parse_special_in_text = true;
        EXPECT_EQ(*chat.render_text(input), rendered->text) << place.name << " with " << spelling;
        if (testing::Test::HasFailure()) return;  // one is enough to read
      }
    }
  }
}

TEST(ClientText, CannotSpeakControlTokens) {
  const auto tokenizer = tiny_tokenizer();
  expect_text_stays_text(*tokenizer, *load_template(kTinyTemplate, *tokenizer));
}

TEST(ClientText, CannotSpeakControlTokensInTheOfficialTemplate) {
  const std::string folder = M2_SHARED_DIR;
  const std::string path = folder + "/chat_template.MiniMax-M2.5.jinja";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  const auto tokenizer = Tokenizer::load(folder + "/tokenizer.json");
  ASSERT_TRUE(tokenizer.has_value());
  std::ifstream file(path, std::ios::binary);
  const std::string source{std::istreambuf_iterator<char>(file), {}};
  expect_text_stays_text(**tokenizer, *load_template(source, **tokenizer));
}

TEST(ClientText, OwnReasoningIsSplitByTheTemplate) {
  const auto tokenizer = tiny_tokenizer();
  const auto chat = load_template(kTinyTemplate, *tokenizer);
  // What the template makes of inline reasoning is what it makes of the field.
  const auto field = chat->render(chat_input(
      R"([{"role": "user", "content": "q"},
          {"role": "assistant", "content": "ok", "reasoning_content": "so"}])"));
  for (const char* content : {R"("<think>\nso\n</think>\n\nok")", R"("so\n</think>\n\nok")",
                              R"(["<think>so", "</think>", "ok"])"}) {
    const auto inline_reasoning = chat->render(
        chat_input(R"([{"role": "user", "content": "q"}, {"role": "assistant", "content": )" +
                   std::string(content) + "}]"));
    ASSERT_TRUE(inline_reasoning.has_value());
    EXPECT_EQ(inline_reasoning->tokens, field->tokens) << content;
  }
  // After its </think> an assistant's text is text, and so is a <think> that nothing closes.
  for (const char* content : {R"("<think>so</think>ok <think> [e~[")", R"("ok <think> [e~[")"}) {
    const auto rendered = chat->render(
        chat_input(R"([{"role": "user", "content": "q"}, {"role": "assistant", "content": )" +
                   std::string(content) + "}, {\"role\": \"user\", \"content\": \"r\"}]"));
    ASSERT_TRUE(rendered.has_value());
    EXPECT_NE(rendered->text.find("ok <think> [e~["), std::string::npos);
    const auto control = control_tokens(*tokenizer, rendered->tokens);
    EXPECT_EQ(std::count(control.begin(), control.end(), 270), 1);  // the generation prompt's
    EXPECT_EQ(std::count(control.begin(), control.end(), 271), 0);
  }
}

// The characters that marks are made of, sent by a client.
TEST(ClientText, MarksFromAClientAreText) {
  const auto tokenizer = tiny_tokenizer();
  const auto chat = load_template(kTinyTemplate, *tokenizer);
  const std::vector<std::string> characters = {
      "\xF4\x80\x80\x80", "\xF4\x80\x80\x83", "\xF4\x80\x80\x8D", "\xF4\x80\x80\x8E",
      "\xF4\x8F\xBF\xBF", "\xEF\xB7\x90",     "\xEF\xB7\x91",     "\xF3\xB0\x80\x80",
      "\xF3\xB0\x80\x81", "\xF3\xB0\x80\x85", "\xEF\xB7\xAF",     "a"};
  for (const Place& place : places()) {
    const auto expected = control_tokens(*tokenizer, chat->render(place.make("harmless"))->tokens);
    for (const std::string& a : characters) {
      for (const std::string& b : characters) {
        for (const std::string& text : {a + b, "x" + a + b + a + "y"}) {
          ChatInput input = place.make(text);
          const auto rendered = chat->render(input);
          ASSERT_TRUE(rendered.has_value());
          EXPECT_EQ(control_tokens(*tokenizer, rendered->tokens), expected);
          input.parse_special_in_text = true;
          ASSERT_EQ(*chat->render_text(input), rendered->text) << place.name;
        }
      }
    }
  }
}

// A template that cuts client strings apart can tear an escape in two; nothing comes free.
TEST(ClientText, CuttingClientStringsFreesNothing) {
  const auto tokenizer = tiny_tokenizer();
  const auto chat = load_template(
      "{% for m in messages %}{% for c in m.content %}{{ c }},{% endfor %}{{ m.content[1:] }}"
      "{{ m.content[:-1] }}{{ m.content|reverse }}{{ m.content|upper }}{% endfor %}",
      *tokenizer);
  for (const std::string text : {"\xF4\x80\x80\x83", "\xEF\xB7\x90\xF4\x80\x80\x83",
                                 "\xEF\xB7\x90\xF3\xB0\x80\x85", "\xF3\xB0\x80\x85\xEF\xB7\x90"}) {
    json::Object message;
    message.set("role", "user");
    message.set("content", text);
    ChatInput input = chat_input("[]");
    input.messages = json::Array{json::Value(std::move(message))};
    const auto rendered = chat->render(input);
    ASSERT_TRUE(rendered.has_value()) << rendered.error().message;
    EXPECT_TRUE(control_tokens(*tokenizer, rendered->tokens).empty());
  }
}

}  // namespace
}  // namespace m2
