// One choice's tokens to text: detokenised, stop strings found, reasoning and tool calls split off.
//
// Thread-safety: one owner.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/request.h"
#include "server/stop_matcher.h"
#include "text/detokenizer.h"
#include "text/reply_parser.h"
#include "text/tokenizer.h"
#include "text/tool_schema.h"

namespace m2 {

// The same for every choice of a request; outlives them.
struct ChoiceTextRules {
  explicit ChoiceTextRules(const Tokenizer& the_tokenizer) : tokenizer(the_tokenizer) {}

  const Tokenizer& tokenizer;
  bool skip_special_tokens = true;
  std::vector<std::string> stop_strings;
  bool include_stop_string = false;          // also: the text of a stop token
  int32_t min_tokens = 0;                    // stop strings count after so many
  std::optional<ReplyParserOptions> parser;  // none: plain text
  ReplyTokens control;
  ToolSchemas schemas;
};

class ChoiceText {
 public:
  explicit ChoiceText(const ChoiceTextRules& rules);

  // A token of the reply. Its text is added to pending(). Returns the stop string it completes.
  const std::string* push(TokenId token);
  void push_stop_token(TokenId token);  // the token that ended the reply
  void finish();                        // the reply's end, unless a stop string has made it

  // What is new since it was last taken.
  const ReplyDelta& pending() const { return pending_; }
  ReplyDelta take_pending();

  int32_t tool_calls() const { return parser_ ? parser_->tool_calls() : 0; }

 private:
  std::string text_of(TokenId token);
  void parse(std::vector<StopMatcher::Piece> pieces);
  void finish_parser();

  const ChoiceTextRules& rules_;
  Detokenizer detokenizer_;
  StopMatcher stops_;
  std::optional<ReplyParser> parser_;
  ReplyDelta pending_;
  int32_t tokens_ = 0;
  bool finished_ = false;
};

// Appends `more` to `delta`, as if both had come at once.
void append_delta(ReplyDelta& delta, ReplyDelta more);

// The ids of the tags that count by id, where the tokenizer has them.
ReplyTokens reply_tokens(const Tokenizer& tokenizer);

}  // namespace m2
