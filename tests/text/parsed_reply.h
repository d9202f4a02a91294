// What the tests of the reply parser share: a whole reply collected from its deltas, with the
// rules that every stream of deltas keeps checked on the way.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "json/json.h"
#include "text/reply_parser.h"

namespace m2 {

struct Piece {
  int32_t id = -1;
  std::string text;
};
using Pieces = std::vector<Piece>;

struct ParsedReply {
  std::string reasoning;
  std::string content;
  std::vector<std::pair<std::string, std::string>> calls;  // name, arguments
  int reasoning_tokens = 0;

  // Reasoning tokens depend on the pieces, all else does not.
  bool operator==(const ParsedReply& other) const {
    return reasoning == other.reasoning && content == other.content && calls == other.calls;
  }
};

inline std::ostream& operator<<(std::ostream& out, const ParsedReply& reply) {
  out << "reasoning=[" << reply.reasoning << "] content=[" << reply.content << "]";
  for (const auto& [name, arguments] : reply.calls) out << " " << name << "(" << arguments << ")";
  return out;
}

inline constexpr ReplyTokens kTestTokens = {
    .think_begin = 1, .think_end = 2, .tool_begin = 3, .tool_end = 4};
inline constexpr int32_t kOrdinaryToken = 1000;

// Joins a delta to the reply; fails the test where the stream breaks a rule.
inline void join(const ReplyDelta& delta, ParsedReply& reply) {
  reply.reasoning += delta.reasoning;
  reply.content += delta.content;
  reply.reasoning_tokens += delta.reasoning_tokens;
  for (const ToolCallDelta& call : delta.tool_calls) {
    if (call.first) {
      // Each index is opened once, in order, with its name.
      EXPECT_EQ(call.index, static_cast<int>(reply.calls.size()));
      EXPECT_FALSE(call.name.empty());
      reply.calls.emplace_back(call.name, "");
    } else {
      EXPECT_EQ(call.index, static_cast<int>(reply.calls.size()) - 1);
      EXPECT_EQ(call.name, "");
      EXPECT_NE(call.arguments, "") << "a delta that says nothing";
    }
    if (!reply.calls.empty()) reply.calls.back().second += call.arguments;
  }
}

inline ParsedReply parse_reply(const Pieces& pieces, const ReplyParserOptions& options,
                               const ToolSchemas& schemas,
                               const ReplyTokens& tokens = kTestTokens) {
  ReplyParser parser(options, tokens, schemas);
  ParsedReply reply;
  for (const Piece& piece : pieces) join(parser.push(piece.id, piece.text), reply);
  join(parser.finish(), reply);
  EXPECT_TRUE(parser.finish().empty());
  EXPECT_EQ(parser.tool_calls(), static_cast<int>(reply.calls.size()));
  for (const auto& [name, arguments] : reply.calls) {
    // Valid JSON in its one spelling: so no key comes twice, too.
    const auto value = json::parse(arguments);
    const bool is_object = value && value->is_object();
    EXPECT_EQ(is_object ? json::dump_python(*value) : "no object", arguments) << name;
  }
  return reply;
}

// The text as one piece without a token: all tags count by text.
inline Pieces as_text(std::string_view text) { return {{-1, std::string(text)}}; }

// The text as tokens: each control tag one with its own id, what is between them one ordinary each.
inline Pieces as_tokens(std::string_view text) {
  constexpr std::pair<std::string_view, int32_t> kTags[] = {{"<think>", kTestTokens.think_begin},
                                                            {"</think>", kTestTokens.think_end},
                                                            {"<minimax:tool_call>", 3},
                                                            {"</minimax:tool_call>", 4}};
  Pieces pieces;
  while (!text.empty()) {
    size_t next = text.size();
    std::pair<std::string_view, int32_t> found = {"", -1};
    for (const auto& tag : kTags) {
      const size_t at = text.find(tag.first);
      if (at < next) {
        next = at;
        found = tag;
      }
    }
    if (next > 0) pieces.push_back({kOrdinaryToken, std::string(text.substr(0, next))});
    text.remove_prefix(next);
    if (found.second >= 0) pieces.push_back({found.second, std::string(found.first)});
    text.remove_prefix(found.first.size());
  }
  return pieces;
}

// A weather tool, as the golden cases have it, and one with every kind of parameter.
inline ToolSchemas test_tools() {
  const auto tools = json::parse(R"([
    {"type": "function", "function": {"name": "get_weather", "parameters": {
      "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}},
    {"type": "function", "function": {"name": "write", "parameters": {
      "type": "object", "properties": {
        "path": {"type": "string"}, "text": {"type": "string"},
        "note": {"type": ["string", "null"]}, "lines": {"type": "array"},
        "mode": {"type": "number"}, "force": {"type": "boolean"}}}}},
    {"type": "function", "function": {"name": "ping"}}])");
  return ToolSchemas(*tools);
}

}  // namespace m2
