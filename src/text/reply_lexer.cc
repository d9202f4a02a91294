#include "text/reply_lexer.h"

#include "json/utf8.h"

namespace m2 {
namespace {

constexpr std::array<std::string_view, 4> kTagTexts = {"<think>", "</think>", "<minimax:tool_call>",
                                                       "</minimax:tool_call>"};
constexpr int kNone = -1;

}  // namespace

std::string_view reply_tag_text(ReplyTag tag) { return kTagTexts[tag - kThinkBegin]; }

ReplyLexer::ReplyLexer(const ReplyTokens& tokens)
    : ids_{tokens.think_begin, tokens.think_end, tokens.tool_begin, tokens.tool_end} {}

void ReplyLexer::push(int32_t id, std::string_view text, std::string& symbols) {
  unsigned by_text = 0;  // bit i: tag i counts by its text in this piece
  int tag = kNone;
  for (int i = 0; i < static_cast<int>(ids_.size()); ++i) {
    if (id < 0 || ids_[i] < 0) {
      by_text |= 1u << i;
    } else if (ids_[i] == id) {
      tag = i;
    }
  }
  text_.clear();
  if (tag == kNone) {
    take_characters(text);
    spell(by_text, symbols);
    return;
  }
  // The tag's own text comes last in its piece, after what the detokenizer held back until now. It
  // may also be missing: a detokenizer that leaves special tokens out says only the id.
  if (text.ends_with(kTagTexts[tag])) text.remove_suffix(kTagTexts[tag].size());
  take_characters(text);
  flush_bytes(text_);
  spell(by_text, symbols);
  give_up_partial(symbols);
  symbols += static_cast<char>(kThinkBegin + tag);
}

void ReplyLexer::finish(std::string& symbols) {
  give_up_partial(symbols);
  flush_bytes(symbols);
}

// Adds the whole characters to text_ and keeps the start of an unfinished one for the next piece.
void ReplyLexer::take_characters(std::string_view bytes) {
  bytes_ += bytes;
  size_t at = 0;
  while (at < bytes_.size()) {
    const json::Utf8Step step = json::next_utf8(bytes_, at);
    if (step.incomplete) break;
    text_ +=
        step.valid ? std::string_view(bytes_).substr(at, step.length) : json::kReplacementCharacter;
    at += step.length;
  }
  bytes_.erase(0, at);
}

// No rest of it comes any more.
void ReplyLexer::flush_bytes(std::string& out) {
  if (!bytes_.empty()) out += json::kReplacementCharacter;
  bytes_.clear();
}

// Copies text_ to the symbols, replacing the spelled tags of `by_text`. No tag holds a second '<',
// so a start that fails leaves nothing to look at again but the byte it failed at.
void ReplyLexer::spell(unsigned by_text, std::string& symbols) {
  if (by_text == 0) {
    if (!text_.empty()) give_up_partial(symbols);
    symbols += text_;
    return;
  }
  for (const char c : text_) {
    if (!partial_.empty()) {
      partial_ += c;
      bool prefix = false;
      for (unsigned i = 0; i < kTagTexts.size() && !prefix; ++i) {
        prefix = (by_text >> i & 1) != 0 && kTagTexts[i].starts_with(partial_);
        if (!prefix || partial_.size() < kTagTexts[i].size()) continue;
        symbols += static_cast<char>(kThinkBegin + i);
        partial_.clear();
      }
      if (prefix) continue;
      partial_.pop_back();
      give_up_partial(symbols);
    }
    if (c == '<') {
      partial_ = c;
    } else {
      symbols += c;
    }
  }
}

void ReplyLexer::give_up_partial(std::string& symbols) {
  symbols += partial_;
  partial_.clear();
}

}  // namespace m2
