// Recorded replies for the reply parser's tests: our own (tests/golden/parser/replies.json) and, if
// it is there, the reference data (parser_golden.json).
#pragma once

#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/text/parsed_reply.h"

namespace m2 {

inline json::Value read_json(const std::string& path) {
  std::ifstream file(path);
  if (!file) return {};
  std::stringstream text;
  text << file.rdbuf();
  auto value = json::parse(text.str());
  EXPECT_TRUE(value) << path;
  return value ? std::move(*value) : json::Value();
}

inline std::string string_or_empty(const json::Value* value) {
  return value != nullptr && value->is_string() ? value->as_string() : "";
}

struct GoldenReply {
  std::string name;
  std::string text;
  ReplyParserOptions options;
  bool tools = true;  // the request has test_tools(); else none
  ParsedReply expected;
};

inline ReplyParserOptions golden_options(const json::Value* given) {
  ReplyParserOptions options;
  options.parse_tools = true;
  if (given == nullptr) return options;
  const auto read = [&](const char* key, bool& option) {
    if (const json::Value* value = given->find(key)) option = value->as_bool();
  };
  read("parse_tools", options.parse_tools);
  read("suppress_tools", options.suppress_tools);
  read("strict_names", options.strict_names);
  read("starts_in_reasoning", options.starts_in_reasoning);
  const std::string reasoning = string_or_empty(given->find("reasoning"));
  if (reasoning == "append") options.reasoning = ReasoningMode::kAppendThink;
  return options;
}

inline std::vector<GoldenReply> own_replies() {
  std::vector<GoldenReply> replies;
  const json::Value cases = read_json(M2_SOURCE_DIR "/tests/golden/parser/replies.json");
  if (!cases.is_array()) return replies;
  for (const json::Value& entry : cases.as_array()) {
    GoldenReply reply;
    reply.name = entry.find("name")->as_string();
    reply.text = entry.find("text")->as_string();
    reply.options = golden_options(entry.find("options"));
    reply.expected.reasoning = entry.find("reasoning")->as_string();
    reply.expected.content = entry.find("content")->as_string();
    for (const json::Value& call : entry.find("calls")->as_array()) {
      reply.expected.calls.emplace_back(call.as_array()[0].as_string(),
                                        call.as_array()[1].as_string());
    }
    replies.push_back(std::move(reply));
  }
  return replies;
}

// How the reference data's cases were made: with a parser that splits, tools were parsed even when
// the request had none; one that appends was then used alone.
inline GoldenReply reference_reply(const json::Value& entry) {
  GoldenReply reply;
  reply.tools = entry.find("tools_in_request")->as_bool();
  const bool append = entry.find("mode")->as_string().find("append") != std::string::npos;
  reply.options.reasoning = append ? ReasoningMode::kAppendThink : ReasoningMode::kSplit;
  reply.options.parse_tools = reply.tools || !append;
  reply.text = entry.find("text")->as_string();
  reply.name = entry.find("case")->as_string() + (append ? " append" : " split") +
               (reply.tools ? "" : " without tools");
  return reply;
}

}  // namespace m2
