// The official templates and tokenizer against recorded prompts. Skipped where they are absent.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>

#include "text/chat_template.h"

namespace m2 {
namespace {

const std::string kFolder = M2_SHARED_DIR;

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class GoldenPrompts : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!std::filesystem::exists(kFolder + "/golden_prompts.json")) return;
    tokenizer_ = std::move(*Tokenizer::load(kFolder + "/tokenizer.json"));
    auto cases = json::parse(read(kFolder + "/golden_prompts.json"));
    ASSERT_TRUE(cases.has_value()) << cases.error().message;
    cases_ = std::move(cases->as_array());
    for (const json::Value& one : cases_) {
      const std::string& name = one.find("template")->as_string();
      if (templates_.contains(name)) continue;
      auto loaded = ChatTemplate::load(name, read(kFolder + "/" + name), *tokenizer_);
      ASSERT_TRUE(loaded.has_value()) << loaded.error().message;
      templates_[name] = std::move(*loaded);
    }
  }
  static void TearDownTestSuite() {
    templates_.clear();
    tokenizer_.reset();
  }

  void SetUp() override {
    if (cases_.empty()) GTEST_SKIP() << "no golden_prompts.json in " << kFolder;
  }

  // A case's input as a request: what is not messages, tools or the flag is a template variable.
  static ChatInput input_of(const json::Value& one) {
    ChatInput input;
    input.add_generation_prompt = false;
    for (const auto& [key, value] : one.find("input")->as_object()) {
      if (key == "messages") {
        input.messages = value;
      } else if (key == "tools") {
        input.tools = value;
      } else if (key == "add_generation_prompt") {
        input.add_generation_prompt = value.as_bool();
      } else {
        input.kwargs.set(key, value);
      }
    }
    return input;
  }

  static std::vector<int32_t> ids_of(const json::Value& one) {
    std::vector<int32_t> ids;
    for (const json::Value& id : one.find("ids_derived")->as_array()) {
      ids.push_back(static_cast<int32_t>(id.as_int()));
    }
    return ids;
  }

  static std::string name_of(const json::Value& one) { return one.find("name")->as_string(); }

  static void expect_golden(const json::Value& one, const ChatInput& input, bool check_ids = true) {
    const auto chat = templates_[one.find("template")->as_string()]->render(input);
    if (const json::Value* error = one.find("error")) {
      ASSERT_FALSE(chat.has_value());
      EXPECT_EQ(chat.error().kind, ErrorKind::kInvalidArgument);
      EXPECT_EQ(chat.error().field, "messages");
      const std::string& raised = error->as_string();
      const std::string text = raised.substr(raised.find(": ") + 2);
      EXPECT_NE(chat.error().message.find(text), std::string::npos) << chat.error().message;
      return;
    }
    ASSERT_TRUE(chat.has_value()) << chat.error().message;
    EXPECT_EQ(chat->text, one.find("rendered")->as_string());
    if (check_ids) {
      EXPECT_EQ(chat->tokens, ids_of(one));
    }
  }

  static inline std::unique_ptr<Tokenizer> tokenizer_;
  static inline json::Array cases_;
  static inline std::map<std::string, std::unique_ptr<ChatTemplate>> templates_;
};

TEST_F(GoldenPrompts, AllAreMetWithoutNormalisation) {
  EXPECT_EQ(cases_.size(), 54u);
  for (const json::Value& one : cases_) {
    SCOPED_TRACE(one.find("template")->as_string() + " " + name_of(one));
    ChatInput input = input_of(one);
    input.parse_special_in_text = true;
    expect_golden(one, input);
  }
}

// What normalisation changes on purpose, in each of the templates:
//   content_parts           an image part is refused: the model is text only
//   tool_loop_content_none  null content shows as nothing, not as the word "None"
TEST_F(GoldenPrompts, AllButTwoAreMetWithNormalisation) {
  for (const json::Value& one : cases_) {
    SCOPED_TRACE(one.find("template")->as_string() + " " + name_of(one));
    ChatInput input = input_of(one);
    auto normalised = normalize_messages(input.messages);
    if (name_of(one) == "content_parts") {
      ASSERT_FALSE(normalised.has_value());
      EXPECT_NE(normalised.error().message.find("messages[0].content[1]"), std::string::npos);
      continue;
    }
    ASSERT_TRUE(normalised.has_value()) << normalised.error().message;
    input.messages = std::move(*normalised);
    input.parse_special_in_text = true;
    if (name_of(one) == "tool_loop_content_none") {
      const auto chat = templates_[one.find("template")->as_string()]->render(input);
      ASSERT_TRUE(chat.has_value());
      std::string expected = one.find("rendered")->as_string();
      expected.replace(expected.find("None\n"), 4, "");
      EXPECT_EQ(chat->text, expected);
      continue;
    }
    expect_golden(one, input);
  }
}

// Without parse_special_in_text the same text comes out; only what clients spell stays text.
TEST_F(GoldenPrompts, MarksChangeNothingButClientText) {
  for (const json::Value& one : cases_) {
    SCOPED_TRACE(one.find("template")->as_string() + " " + name_of(one));
    const bool spells_tokens = name_of(one) == "special_text_in_user";
    expect_golden(one, input_of(one), !spells_tokens);
    if (!spells_tokens) continue;
    const auto chat = templates_[one.find("template")->as_string()]->render(input_of(one));
    ASSERT_TRUE(chat.has_value());
    std::vector<int32_t> control;
    for (const int32_t id : chat->tokens) {
      if (tokenizer_->is_added(id)) control.push_back(id);
    }
    EXPECT_EQ(control,
              (std::vector<int32_t>{200034, 200019, 200020, 200019, 200020, 200019, 200050}));
  }
}

}  // namespace
}  // namespace m2
