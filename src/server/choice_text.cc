#include "server/choice_text.h"

#include <utility>

namespace m2 {

ReplyTokens reply_tokens(const Tokenizer& tokenizer) {
  const auto id = [&](std::string_view text) { return tokenizer.token_id(text).value_or(-1); };
  return {id("<think>"), id("</think>"), id("<minimax:tool_call>"), id("</minimax:tool_call>")};
}

void append_delta(ReplyDelta& delta, ReplyDelta more) {
  delta.reasoning += more.reasoning;
  delta.content += more.content;
  delta.reasoning_tokens += more.reasoning_tokens;
  for (ToolCallDelta& call : more.tool_calls) {
    // One piece a call: what continues the last one joins it.
    if (!delta.tool_calls.empty() && delta.tool_calls.back().index == call.index) {
      delta.tool_calls.back().arguments += call.arguments;
    } else {
      delta.tool_calls.push_back(std::move(call));
    }
  }
}

ChoiceText::ChoiceText(const ChoiceTextRules& rules)
    : rules_(rules),
      detokenizer_(rules.tokenizer, rules.skip_special_tokens),
      stops_(rules.stop_strings, rules.include_stop_string) {
  if (rules.parser) parser_.emplace(*rules.parser, rules.control, rules.schemas);
}

// The parser needs its four tags even where special tokens are skipped and they are special.
std::string ChoiceText::text_of(TokenId token) {
  const ReplyTokens& control = rules_.control;
  const bool tag = token == control.think_begin || token == control.think_end ||
                   token == control.tool_begin || token == control.tool_end;
  if (parser_ && tag && rules_.skip_special_tokens && rules_.tokenizer.is_special(token)) {
    // Half a character before a tag stays before it: nothing after the tag completes it.
    return detokenizer_.flush().append(rules_.tokenizer.token_bytes(token));
  }
  return detokenizer_.push(token);
}

const std::string* ChoiceText::push(TokenId token) {
  ++tokens_;
  std::vector<StopMatcher::Piece> pieces;
  const int stop = stops_.push(token, text_of(token), tokens_ > rules_.min_tokens, pieces);
  parse(std::move(pieces));
  if (stop < 0) return nullptr;
  finish_parser();
  return &rules_.stop_strings[static_cast<size_t>(stop)];
}

void ChoiceText::push_stop_token(TokenId token) {
  if (!rules_.include_stop_string) return;
  std::vector<StopMatcher::Piece> pieces;
  stops_.flush(pieces);
  pieces.push_back({token, text_of(token)});
  parse(std::move(pieces));
}

void ChoiceText::finish() {
  if (finished_) return;
  std::vector<StopMatcher::Piece> pieces;
  stops_.flush(pieces);
  if (std::string rest = detokenizer_.flush(); !rest.empty()) {
    pieces.push_back({-1, std::move(rest)});
  }
  parse(std::move(pieces));
  finish_parser();
}

void ChoiceText::finish_parser() {
  finished_ = true;
  if (parser_) append_delta(pending_, parser_->finish());
}

void ChoiceText::parse(std::vector<StopMatcher::Piece> pieces) {
  for (StopMatcher::Piece& piece : pieces) {
    if (parser_) {
      append_delta(pending_, parser_->push(piece.token, piece.text));
    } else {
      pending_.content += piece.text;
    }
  }
}

ReplyDelta ChoiceText::take_pending() { return std::exchange(pending_, {}); }

}  // namespace m2
