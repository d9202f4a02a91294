// The reply parser against recorded replies. The reference data holds what vLLM's parsers gave; the
// cases where they are at fault are listed here with what we give instead (docs/api.md, too).
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tests/text/golden_replies.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace m2 {
namespace {

TEST(ReplyParserGolden, OurOwnReplies) {
  const ToolSchemas schemas = test_tools();
  const std::vector<GoldenReply> replies = own_replies();
  EXPECT_GE(replies.size(), 25u);
  for (const GoldenReply& reply : replies) {
    EXPECT_EQ(parse_reply(as_text(reply.text), reply.options, schemas), reply.expected)
        << reply.name << ", by text";
    EXPECT_EQ(parse_reply(as_tokens(reply.text), reply.options, schemas), reply.expected)
        << reply.name << ", by token";
  }
}

using Calls = std::vector<std::pair<std::string, std::string>>;

// Which of the reference's answers we differ from.
enum Views { kFull = 1, kStream = 2, kBoth = 3 };

struct Difference {
  int views;
  std::string content;
  Calls calls;
};

Calls weather(const std::string& arguments) { return {{"get_weather", arguments}}; }

// Why, by the part of the name before the mode. All differences of the appending parser have one
// reason: it loses "</think>" where the request has tools.
std::map<std::string, Difference> differences() {
  const std::string end = "<think>R</think>";
  const Calls city = weather(R"({"city": "A"})");
  const Calls cut = weather(R"({"city": "San Fr"})");
  const Calls two = {{"get_weather", R"({"city": "A"})"}, {"get_weather", R"({"city": "B"})"}};
  std::map<std::string, Difference> table = {
      // A call to an unknown tool takes no index: their stream began with index 1.
      {"bad_then_good split", {kStream, "", weather(R"({"city": "B"})")}},
      // All at once is what the stream gives: they strip content before a call only all at once…
      {"all_bad split without tools", {kFull, "\n\nSo: ", {{"nope", R"({"city": "A"})"}}}},
      // … and lose the text after it.
      {"trailing_text split", {kFull, "\nDone.", city}},
      {"trailing_text split without tools", {kFull, "\nDone.", city}},
      // A reply that ends in a value: they give {} all at once and no valid JSON in the stream.
      {"trunc_value split", {kBoth, "", cut}},
      {"trunc_value split without tools", {kBoth, "", cut}},
      // A key twice: they give the last all at once, and leave the stream unfinished.
      {"dup_param split", {kBoth, "", city}},
      {"dup_param split without tools", {kBoth, "", city}},
      // "</think>" lost: in the stream always, all at once where a call is found.
      {"only_reason_end append", {kStream, end, {}}},
      {"leading_think append", {kStream, "<think><think>\nR\n</think>\n\nHi", {}}},
      {"tool append",
       {kBoth, "<think>R\n</think>\n\n", weather(R"({"city": "San Francisco", "days": 3})")}},
      {"two_invokes append", {kBoth, end, two}},
      {"bad_then_good append", {kBoth, end, weather(R"({"city": "B"})")}},
      {"all_bad append", {kBoth, end + "\n\nSo: ", {}}},
      {"unclosed_mid_param append", {kBoth, end, weather(R"({"city": "A\n", "days": 2})")}},
      {"trunc_value append", {kBoth, end, cut}},
      {"trunc_block append", {kBoth, end, {}}},
      {"trailing_text append", {kBoth, end + "\nDone.", city}},
      {"multiline append", {kBoth, end, weather(R"({"city": "  a\n  b\n"})")}},
      {"entities append", {kBoth, end, weather(R"({"city": "Tom &amp; <b>J</b>"})")}},
      {"quote_in_value append", {kBoth, end, weather(R"({"city": "say \"hi\"\\n"})")}},
      {"unicode append", {kBoth, "<think>思考</think>", weather("{\"city\": \"北京 🌧\"}")}},
      {"dup_param append", {kBoth, end, city}},
      {"spaces_attr append", {kBoth, end, weather(R"({"city": "SF"})")}},
  };
  return table;
}

// A call as the reference counts it: the index belongs to it, so that a gap is a difference.
std::string text_of(int64_t index, const std::string& name, const std::string& arguments) {
  return std::to_string(index) + " " + name + " " + arguments + "\n";
}

struct Answer {
  std::string reasoning, content, calls;
  bool operator==(const Answer&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Answer& answer) {
  return out << "[" << answer.reasoning << "] [" << answer.content << "] " << answer.calls;
}

Answer answer_of(const ParsedReply& reply) {
  Answer answer{reply.reasoning, reply.content, ""};
  for (size_t i = 0; i < reply.calls.size(); ++i) {
    answer.calls += text_of(i, reply.calls[i].first, reply.calls[i].second);
  }
  return answer;
}

Answer full_answer(const json::Value& full) {
  Answer answer{string_or_empty(full.find("reasoning")), string_or_empty(full.find("content")), ""};
  const json::Value* tools = full.find("tools");
  if (!tools->is_array()) return answer;
  int64_t index = 0;
  for (const json::Value& call : tools->as_array()) {
    answer.calls +=
        text_of(index++, call.as_array()[0].as_string(), call.as_array()[1].as_string());
  }
  return answer;
}

Answer stream_answer(const json::Array& stream) {
  Answer answer;
  std::map<int64_t, std::pair<std::string, std::string>> calls;
  for (const json::Value& step : stream) {
    answer.reasoning += string_or_empty(step.find("reasoning"));
    answer.content += string_or_empty(step.find("content"));
    const json::Value* deltas = step.find("tool_calls");
    if (deltas == nullptr) continue;
    for (const json::Value& delta : deltas->as_array()) {
      auto& [name, arguments] = calls[delta.find("index")->as_int()];
      name += string_or_empty(delta.find("name"));
      arguments += string_or_empty(delta.find("arguments"));
    }
  }
  for (const auto& [index, call] : calls) answer.calls += text_of(index, call.first, call.second);
  return answer;
}

// The recorded pieces; one that is a control tag and nothing else has its id.
Pieces recorded_pieces(const json::Array& stream) {
  Pieces pieces;
  for (const json::Value& step : stream) {
    const std::string& text = step.find("in")->as_string();
    const Pieces tokens = as_tokens(text);
    pieces.push_back(tokens.size() == 1 ? tokens[0] : Piece{-1, text});
  }
  return pieces;
}

TEST(ReplyParserGolden, ReferenceReplies) {
  const std::string path = M2_SHARED_DIR "/parser_golden.json";
  const json::Value golden = read_json(path);
  if (golden.is_null()) GTEST_SKIP() << "reference data is absent: " << path;
  const ToolSchemas tools(*golden.find("tools"));
  const ToolSchemas none;
  std::map<std::string, Difference> table = differences();
  const json::Array& cases = golden.find("cases")->as_array();
  EXPECT_EQ(cases.size(), 68u);
  for (const json::Value& entry : cases) {
    const GoldenReply reply = reference_reply(entry);
    const ToolSchemas& schemas = reply.tools ? tools : none;
    const Answer full = full_answer(*entry.find("full"));
    Answer expected = full;
    int views = 0;
    if (const auto found = table.find(reply.name); found != table.end()) {
      views = found->second.views;
      expected.content = found->second.content;
      expected.calls = answer_of({"", "", found->second.calls}).calls;
      table.erase(found);
    }
    EXPECT_EQ(answer_of(parse_reply(as_text(reply.text), reply.options, schemas)), expected)
        << reply.name;
    // Nothing is listed that the reference has right.
    EXPECT_EQ(full != expected, (views & kFull) != 0) << reply.name << " all at once: " << full;
    for (const char* key : {"stream_1", "stream_5"}) {
      const json::Array& stream = entry.find(key)->as_array();
      EXPECT_EQ(answer_of(parse_reply(recorded_pieces(stream), reply.options, schemas)), expected)
          << reply.name << " " << key;
      EXPECT_EQ(stream_answer(stream) != expected, (views & kStream) != 0)
          << reply.name << " " << key << ": " << stream_answer(stream);
    }
  }
  for (const auto& [name, difference] : table) ADD_FAILURE() << "listed, but no case: " << name;
}

// The whole way of a reply: the official tokenizer's tokens, their text as it completes, the
// parser.
TEST(ReplyParserGolden, OfficialTokens) {
  const std::string path = M2_SHARED_DIR "/tokenizer.json";
  if (!std::ifstream(path)) GTEST_SKIP() << "reference data is absent: " << path;
  const auto tokenizer = Tokenizer::load(path);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const auto id = [&](std::string_view text) { return (*tokenizer)->token_id(text).value_or(-1); };
  const ReplyTokens tokens = {id("<think>"), id("</think>"), id("<minimax:tool_call>"),
                              id("</minimax:tool_call>")};
  ASSERT_GE(std::min({tokens.think_begin, tokens.think_end, tokens.tool_begin, tokens.tool_end}),
            200000);
  const ToolSchemas schemas = test_tools();
  for (const GoldenReply& reply : own_replies()) {
    const auto ids = (*tokenizer)->encode(reply.text, AddedTokens::kParse);
    ASSERT_TRUE(ids);
    Detokenizer detokenizer(**tokenizer, true);
    Pieces pieces;
    for (const int32_t token : *ids) pieces.push_back({token, detokenizer.push(token)});
    pieces.push_back({-1, detokenizer.flush()});
    EXPECT_EQ(parse_reply(pieces, reply.options, schemas, tokens), reply.expected) << reply.name;
  }
}

}  // namespace
}  // namespace m2
