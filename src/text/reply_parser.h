// Splits a reply into reasoning, content and tool calls while it is written: one hand-written state
// machine over token ids and text, for every API. It never throws, never loses text that belongs to
// somebody, and what it streams concatenates to exactly what it would give all at once.
//
// Wire format (after the prompt's own "<think>\n"): reasoning </think> content
//   <minimax:tool_call> <invoke name="f"> <parameter name="k">value</parameter> … </invoke> …
//   </minimax:tool_call>
// How it tells tags from text that looks like them:
//   - The four control tags count by token id where there is one (text/reply_lexer.h).
//   - "</parameter>" ends a value only before (blanks apart) a <parameter name=…>, </invoke>,
//     </minimax:tool_call> or the end of the reply; "</invoke>" in a value ends it only before an
//     <invoke name=…>, a control tag of tool calls or the end; "</minimax:tool_call>" in one only
//     before <minimax:tool_call> or the end. A <parameter name=…> always starts the next value.
//     What may yet become one of these is held back until it is decided.
//   - <invoke name=…> in content is a call without the outer tag too; text between the calls of one
//     <minimax:tool_call> is dropped; text after it is content.
//   - What blank text stands alone before, between or after calls is dropped; so is the blank end
//     of reasoning. All other text is given out as it was generated.
// All at once is the concatenation of all deltas: there is no second way to parse.
//
// Thread-safety: one owner. The schemas outlive it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/reply_lexer.h"
#include "text/tool_schema.h"

namespace m2 {

enum class ReasoningMode {
  kSplit,        // --reasoning-parser minimax_m2 (and no flag at all): reasoning apart from content
  kAppendThink,  // minimax_m2_append_think: content is "<think>" + everything, but for the calls
                 // that are parsed out where parse_tools is set
};

struct ReplyParserOptions {
  ReasoningMode reasoning = ReasoningMode::kSplit;
  bool starts_in_reasoning = true;  // the prompt ends inside <think>
  bool parse_tools = false;         // the request has tools
  bool suppress_tools = false;      // tool_choice "none": calls are parsed out and dropped
  bool strict_names = true;         // a call to a tool that is not in the request is dropped;
                                    // where the request has no tools, any name passes
  int32_t max_tool_calls = 128;     // further calls are dropped
};

struct ToolCallDelta {
  int32_t index = 0;      // 0, 1, 2 … without gaps
  std::string name;       // set in a call's first delta only
  std::string arguments;  // a piece of the arguments' JSON text
  bool first = false;     // opens the call: the server adds id and type
};

struct ReplyDelta {
  std::string reasoning;
  std::string content;
  std::vector<ToolCallDelta> tool_calls;
  int32_t reasoning_tokens = 0;  // tokens of this delta that were reasoning, in either mode

  bool empty() const { return reasoning.empty() && content.empty() && tool_calls.empty(); }
};

class ReplyParser {
 public:
  ReplyParser(ReplyParserOptions options, ReplyTokens tokens, const ToolSchemas& schemas);
  ~ReplyParser();

  // One token and the text that it completed (text may be empty; id -1: text without a token, all
  // tags then count by text). Special tokens other than the four must have been left out before.
  // The text may be cut anywhere, also within a character.
  ReplyDelta push(int32_t id, std::string_view text);

  // The end of the reply: what was held back; open calls are closed so that their JSON is valid.
  // A cut-off string keeps its text, any other cut-off value is left out. Call it once, last.
  ReplyDelta finish();

  int32_t tool_calls() const;  // calls opened so far: finish_reason is "tool_calls" when > 0

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace m2
