// Any reply, cut in any way: the parser must not crash, must give the same for every cut, and each
// call's arguments must be JSON in its one spelling.
//
// Input: one byte of options, one that seeds the cuts, then the reply. Bytes from 0xE0 on stand for
// fragments of the wire format, so that the fuzzer meets deep states soon; 0xFF is a broken byte.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "json/json.h"
#include "text/reply_parser.h"

namespace {

constexpr m2::ReplyTokens kTokens = {
    .think_begin = 1, .think_end = 2, .tool_begin = 3, .tool_end = 4};
constexpr int32_t kOrdinary = 1000;

constexpr std::string_view kFragments[] = {"<think>",
                                           "</think>",
                                           "<minimax:tool_call>",
                                           "</minimax:tool_call>",
                                           "<invoke name=\"f\">",
                                           "<invoke name=\"g\">",
                                           "<invoke name=",
                                           "</invoke>",
                                           "<parameter name=\"s\">",
                                           "<parameter name=\"n\">",
                                           "<parameter name=\"m\">",
                                           "<parameter name=\"a\">",
                                           "<parameter name=",
                                           "</parameter>",
                                           "null",
                                           "</",
                                           "\n",
                                           "[1, 2.5]",
                                           "1e5",
                                           "\xE5\x8C\x97",
                                           "\xF0\x9F"};

struct Piece {
  int32_t id;
  std::string text;
};
using Pieces = std::vector<Piece>;

// The first four fragments become control tokens if `by_id`; all else is ordinary text.
Pieces pieces_of(const uint8_t* data, size_t size, bool by_id) {
  Pieces pieces = {{by_id ? kOrdinary : -1, ""}};
  for (size_t i = 0; i < size; ++i) {
    const size_t fragment = data[i] >= 0xE0 ? data[i] - 0xE0 : std::size(kFragments);
    if (by_id && fragment < 4) {
      pieces.push_back({static_cast<int32_t>(fragment) + 1, std::string(kFragments[fragment])});
      pieces.push_back({kOrdinary, ""});
    } else if (fragment < std::size(kFragments)) {
      pieces.back().text += kFragments[fragment];
    } else {
      pieces.back().text += static_cast<char>(data[i]);
    }
  }
  return pieces;
}

Pieces cut(const Pieces& pieces, uint32_t seed) {
  Pieces out;
  for (const Piece& piece : pieces) {
    out.push_back({piece.id, ""});
    const bool whole = piece.id >= 0 && piece.id != kOrdinary;
    for (const char c : piece.text) {
      seed = seed * 1664525u + 1013904223u;
      if (!whole && seed >> 30 == 0) out.push_back({piece.id, ""});
      out.back().text += c;
    }
  }
  return out;
}

void require(bool condition) {
  if (!condition) std::abort();
}

// Everything that a reply gives, as one string.
std::string result_of(const Pieces& pieces, const m2::ReplyParserOptions& options,
                      const m2::ToolSchemas& schemas) {
  m2::ReplyParser parser(options, kTokens, schemas);
  std::string reasoning, content;
  std::vector<std::pair<std::string, std::string>> calls;
  const auto join = [&](const m2::ReplyDelta& delta) {
    reasoning += delta.reasoning;
    content += delta.content;
    for (const m2::ToolCallDelta& call : delta.tool_calls) {
      if (call.first) calls.emplace_back(call.name, "");
      require(call.index + 1 == static_cast<int32_t>(calls.size()));
      require(call.first != call.name.empty());
      calls.back().second += call.arguments;
    }
  };
  for (const Piece& piece : pieces) join(parser.push(piece.id, piece.text));
  join(parser.finish());
  require(parser.tool_calls() == static_cast<int32_t>(calls.size()));
  std::string result = reasoning + '\x01' + content + '\x01';
  for (const auto& [name, arguments] : calls) {
    const auto value = m2::json::parse(arguments, {.max_depth = 66});
    require(value && value->is_object() && m2::json::dump_python(*value) == arguments);
    result += name + '\x02' + arguments + '\x02';
  }
  return result;
}

const m2::ToolSchemas& tools() {
  static const m2::ToolSchemas schemas(*m2::json::parse(R"([{"type": "function", "function": {
      "name": "f", "parameters": {"properties": {
        "s": {"type": "string"}, "n": {"type": "number"}, "m": {"type": ["string", "null"]},
        "a": {"type": ["integer", "array"]}}}}}])"));
  return schemas;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  m2::ReplyParserOptions options;
  options.reasoning = static_cast<m2::ReasoningMode>(data[0] & 1);
  options.starts_in_reasoning = (data[0] & 4) != 0;
  options.parse_tools = (data[0] & 8) == 0;
  options.suppress_tools = (data[0] & 48) == 48;
  options.strict_names = (data[0] & 64) == 0;
  options.max_tool_calls = (data[0] & 128) != 0 ? 2 : 128;
  for (const bool by_id : {false, true}) {
    const Pieces pieces = pieces_of(data + 2, size - 2, by_id);
    const std::string whole = result_of(pieces, options, tools());
    for (uint32_t i = 0; i < 3; ++i) {
      require(result_of(cut(pieces, data[1] + i * 7919u), options, tools()) == whole);
    }
  }
  return 0;
}
