#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/text/tiny_template.h"
#include "text/chat_template.h"

namespace m2 {
namespace {

std::string normalized(std::string_view messages) {
  const auto result = normalize_messages(parse_json(messages));
  EXPECT_TRUE(result.has_value()) << messages << ": " << result.error().message;
  return result ? json::dump(*result) : "";
}

std::string refused(std::string_view messages) {
  const auto result = normalize_messages(parse_json(messages));
  EXPECT_FALSE(result.has_value()) << messages;
  if (result) return "";
  EXPECT_EQ(result.error().kind, ErrorKind::kInvalidArgument);
  EXPECT_EQ(result.error().field, "messages");
  return result.error().message;
}

void expect_same(std::string_view messages, std::string_view expected) {
  EXPECT_EQ(normalized(messages), json::dump(parse_json(expected))) << messages;
}

TEST(NormalizeMessages, NullContentIsEmpty) {
  expect_same(R"([{"role":"assistant"},{"role":"tool","content":null}])",
              R"([{"role":"assistant","content":""},{"role":"tool","content":""}])");
  expect_same(R"([{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f"}}]}])",
              R"([{"role":"assistant","content":"",
           "tool_calls":[{"function":{"name":"f","arguments":{}}}]}])");
  EXPECT_EQ(normalized("[]"), "[]");
}

TEST(NormalizeMessages, OtherMessagesNeedContent) {
  for (const char* role : {"user", "system", "developer"}) {
    for (const char* content : {"", R"(,"content":null)", R"(,"contents":"x")"}) {
      EXPECT_EQ(refused(fmt::format(R"([{{"role":"{}"{}}}])", role, content)),
                fmt::format("messages[0].content is missing: a {} message needs a string or parts",
                            role));
    }
  }
}

TEST(NormalizeMessages, ArgumentsBecomeObjects) {
  expect_same(
      R"([{"role":"assistant","content":"","tool_calls":[
           {"id":"1","type":"function","function":{"name":"f","arguments":"{\"b\": 1.0, \"a\": [10000000000000000000000]}"}},
           {"function":{"name":"g","arguments":""}},
           {"function":{"name":"h","arguments":null}},
           {"function":{"name":"i"}},
           {"name":"flat","arguments":{"k":"v"}}]}])",
      R"([{"role":"assistant","content":"","tool_calls":[
           {"id":"1","type":"function","function":{"name":"f","arguments":{"b":1.0,"a":[10000000000000000000000]}}},
           {"function":{"name":"g","arguments":{}}},
           {"function":{"name":"h","arguments":{}}},
           {"function":{"name":"i","arguments":{}}},
           {"name":"flat","arguments":{"k":"v"}}]}])");
  // No calls at all is no key: templates test for the key.
  expect_same(R"([{"role":"assistant","content":"x","tool_calls":[]},
                  {"role":"assistant","content":"y","tool_calls":null}])",
              R"([{"role":"assistant","content":"x"},{"role":"assistant","content":"y"}])");
}

TEST(NormalizeMessages, BadCallsAreNamed) {
  const auto call = [](const std::string& call) {
    return refused(
        R"([{"role":"user","content":"q"},{"role":"assistant","content":"","tool_calls":)" + call +
        "}]");
  };
  EXPECT_NE(call(R"([{"function":{"name":"f","arguments":"[1]"}}])")
                .find("messages[1].tool_calls[0].function.arguments must be a JSON object"),
            std::string::npos);
  EXPECT_NE(call(R"([{"name":"f"},{"name":"f","arguments":"{\"a\":"}])")
                .find("messages[1].tool_calls[1].arguments: invalid JSON"),
            std::string::npos);
  EXPECT_NE(call(R"([{"function":{"arguments":"{}"}}])").find("function.name must be a string"),
            std::string::npos);
  call(R"([3])");
  call(R"([{"function":3}])");
  call(R"({"name":"f"})");
}

TEST(NormalizeMessages, ReasoningHasOneName) {
  const std::string expected = R"([{"role":"assistant","content":"c","reasoning_content":"r"}])";
  expect_same(R"([{"role":"assistant","content":"c","reasoning_content":"r"}])", expected);
  expect_same(R"([{"role":"assistant","content":"c","reasoning":"r"}])", expected);
  expect_same(R"([{"role":"assistant","content":"c","reasoning":"r","reasoning_content":""}])",
              R"([{"role":"assistant","content":"c","reasoning_content":"r"}])");
  expect_same(R"([{"role":"assistant","content":"c","reasoning_details":[
                    {"type":"reasoning.text","text":"r1"},{"type":"reasoning.summary","summary":"r2"},
                    {"type":"reasoning.encrypted","data":"?"}]}])",
              R"([{"role":"assistant","content":"c","reasoning_content":"r1r2"}])");
  expect_same(
      R"([{"role":"assistant","content":[
                    {"type":"thinking","thinking":"r","signature":"s"},{"type":"redacted_thinking","data":"d"},
                    {"type":"text","text":"c"}]}])",
      R"([{"role":"assistant","content":[{"type":"text","text":"c"}],"reasoning_content":"r"}])");
  // None: the key goes, so that the template looks for <think> in the content.
  expect_same(
      R"([{"role":"assistant","content":"<think>r</think>c","reasoning_content":null,"reasoning":""}])",
      R"([{"role":"assistant","content":"<think>r</think>c"}])");
}

TEST(NormalizeMessages, PartsAreText) {
  expect_same(R"([{"role":"user","content":["a",{"type":"input_text","text":"b"}]},
                  {"role":"assistant","content":[{"type":"output_text","text":"c"},
                                                 {"type":"refusal","refusal":"d"}]}])",
              R"([{"role":"user","content":["a",{"type":"text","text":"b"}]},
                  {"role":"assistant","content":[{"type":"text","text":"c"},
                                                 {"type":"text","refusal":"d","text":"d"}]}])");
  // A tool's result may be any object; the template writes it out.
  const std::string result =
      R"([{"role":"tool","content":[{"type":"text","output":"o"},{"rows":[1,2]},{"type":"text","text":"t"}]}])";
  expect_same(result, result);
  EXPECT_EQ(refused(R"([{"role":"user","content":[{"type":"text","text":"a"},
                        {"type":"image_url","image_url":{"url":"x"}}]}])"),
            "messages[0].content[1] has type \"image_url\"; this is a text-only model, which takes "
            "parts of type \"text\"");
  for (const char* part :
       {R"({"type":"input_audio","input_audio":{}})", R"({"type":"file"})", "3",
        R"({"text":"no type"})", R"({"type":"text"})", R"({"type":"text","text":3})"}) {
    EXPECT_NE(refused(R"([{"role":"user","content":[)" + std::string(part) + "]}]")
                  .find("messages[0].content[0]"),
              std::string::npos)
        << part;
  }
  EXPECT_NE(refused(R"([{"role":"tool","content":[{"type":"image","source":{}}]}])").find("image"),
            std::string::npos);
  EXPECT_NE(refused(R"([{"role":"user","content":3}])").find("messages[0].content must be"),
            std::string::npos);
}

TEST(NormalizeMessages, RolesAreNamed) {
  EXPECT_EQ(refused(R"([{"role":"user","content":""},{"role":"thinking","content":"x"}])"),
            "messages[1].role must be one of system, developer, user, assistant, tool, got "
            "\"thinking\"");
  refused(R"([{"content":"x"}])");
  refused(R"([{"role":3}])");
  refused(R"(["x"])");
  refused(R"({"role":"user"})");
  EXPECT_LT(refused("[{\"role\":\"" + std::string(100'000, 'x') + "\"}]").size(), 200u);
}

TEST(NormalizeMessages, ExtraKeysPass) {
  const std::string messages =
      R"([{"role":"user","content":"q","name":"Ann","x":[1,{"y":null}]},
          {"role":"tool","content":"t","tool_call_id":"nobody"}])";
  expect_same(messages, messages);
}

// ---- system and developer messages ----

TEST(FoldInstructions, TheFirstStaysAndItsNeighboursJoin) {
  const std::string plain = R"([{"role":"system","content":"a"},{"role":"user","content":"q"}])";
  expect_same(plain, plain);
  expect_same(R"([{"role":"developer","content":"a"},{"role":"user","content":"q"}])", plain);
  expect_same(R"([{"role":"system","content":"a","current_date":"d"},
                  {"role":"developer","content":[{"type":"text","text":"b"},{"type":"text","text":"c"}]},
                  {"role":"system","content":""},{"role":"user","content":"q"}])",
              R"([{"role":"system","content":"a\n\nbc","current_date":"d"},
                  {"role":"user","content":"q"}])");
}

TEST(FoldInstructions, LaterOnesGoToTheNeighbouringUserTurn) {
  const std::string before =
      R"([{"role":"user","content":"q"},{"role":"assistant","content":"a"},)";
  expect_same(before + R"({"role":"system","content":"s"},{"role":"developer","content":"t"},
                          {"role":"user","content":"r"}])",
              before + R"({"role":"user","content":"s\n\nt\n\nr"}])");
  expect_same(before + R"({"role":"system","content":"s"},
                          {"role":"user","content":[{"type":"text","text":"r"}]}])",
              before + R"({"role":"user","content":[{"type":"text","text":"s\n\n"},
                                                    {"type":"text","text":"r"}]}])");
  // None follows: after the one before it.
  expect_same(R"([{"role":"user","content":"q"},{"role":"system","content":"s"},
                  {"role":"assistant","content":"a"}])",
              R"([{"role":"user","content":"q\n\ns"},{"role":"assistant","content":"a"}])");
  expect_same(R"([{"role":"user","content":["q"]},{"role":"system","content":"s"}])",
              R"([{"role":"user","content":["q",{"type":"text","text":"\n\ns"}]}])");
  // No user turn on either side: one of its own, never text in an older turn.
  expect_same(before + R"({"role":"system","content":"s"}])",
              before + R"({"role":"user","content":"s"}])");
  expect_same(before + R"({"role":"system","content":""}])",
              R"([{"role":"user","content":"q"},{"role":"assistant","content":"a"}])");
}

TEST(FoldInstructions, NothingComesBetweenACallAndItsResult) {
  const std::string call =
      R"([{"role":"user","content":"q"},
          {"role":"assistant","content":"","tool_calls":[{"name":"f","arguments":{}}]},)";
  const std::string expected =
      call + R"({"role":"tool","content":"r1"},{"role":"tool","content":"r2\n\ns"}])";
  expect_same(call + R"({"role":"system","content":"s"},{"role":"tool","content":"r1"},
                        {"role":"tool","content":"r2"}])",
              expected);
  expect_same(call + R"({"role":"tool","content":"r1"},{"role":"system","content":"s"},
                        {"role":"tool","content":"r2"}])",
              expected);
  expect_same(call + R"({"role":"tool","content":"r1"},{"role":"tool","content":"r2"},
                        {"role":"system","content":"s"}])",
              expected);
  expect_same(call + R"({"role":"tool","content":[{"type":"text","text":"r"}]},
                        {"role":"system","content":"s"}])",
              call + R"({"role":"tool","content":[{"type":"text","text":"r"},
                                                  {"type":"text","text":"s"}]}])");
  expect_same(call + R"({"role":"system","content":"s"},{"role":"tool","content":"r"},
                        {"role":"user","content":"u"}])",
              call + R"({"role":"tool","content":"r"},{"role":"user","content":"s\n\nu"}])");
}

TEST(FoldInstructions, NoncesOfClientsAreLeftOut) {
  expect_same(R"([{"role":"system","content":[
                    {"type":"text","text":"x-anthropic-billing-header: cc_version=1; cch=abc"},
                    {"type":"text","text":"Be brief."}]},{"role":"user","content":"q"}])",
              R"([{"role":"system","content":"Be brief."},{"role":"user","content":"q"}])");
  expect_same(R"([{"role":"system","content":"x-anthropic-billing-header: a\nBe brief."},
                  {"role":"user","content":"x-anthropic-billing-header: mine"}])",
              R"([{"role":"system","content":"Be brief."},
                  {"role":"user","content":"x-anthropic-billing-header: mine"}])");
}

// Each request of a growing conversation renders to the beginning of the next one's text.
TEST(FoldInstructions, ConversationsGrowAtTheEnd) {
  const auto tokenizer = tiny_tokenizer();
  const auto chat = load_template(kTinyTemplate, *tokenizer);
  const json::Value all = parse_json(
      R"([{"role":"system","content":"s0"},{"role":"user","content":"u1"},
          {"role":"system","content":"s1"},
          {"role":"assistant","content":"","reasoning_content":"r1",
           "tool_calls":[{"name":"f","arguments":{"k":1}}]},
          {"role":"tool","content":"t1"},{"role":"system","content":"s2"},
          {"role":"assistant","content":"","reasoning_content":"r2",
           "tool_calls":[{"name":"g","arguments":{}}]},
          {"role":"system","content":"s3"},{"role":"tool","content":"t2"},
          {"role":"assistant","content":"a1"},
          {"role":"developer","content":"s4"},{"role":"user","content":"u2"},
          {"role":"assistant","content":"a2"}])");
  // Where a client sends a request: the turns that wait for an assistant.
  std::vector<std::string> prompts;
  for (const size_t count : {3, 6, 9, 12}) {
    const json::Array& messages = all.as_array();
    ChatInput input = chat_input("[]");
    input.add_generation_prompt = false;
    input.messages = *normalize_messages(
        json::Array(messages.begin(), messages.begin() + static_cast<long>(count)));
    prompts.push_back(*chat->render_text(input));
    for (const char* text : {"s0", "s1", "s2", "s3", "s4"}) {
      const std::string sent =
          json::dump(json::Array(messages.begin(), messages.begin() + static_cast<long>(count)));
      if (sent.find(text) == std::string::npos) continue;
      EXPECT_NE(prompts.back().find(text), std::string::npos) << text << " is lost";
    }
  }
  EXPECT_TRUE(prompts[1].starts_with(prompts[0]));
  EXPECT_TRUE(prompts[2].starts_with(prompts[1]));
  // A new user turn drops older reasoning, by the template's own rule; all before it stays.
  EXPECT_TRUE(prompts[3].starts_with(prompts[0]));
}

}  // namespace
}  // namespace m2
