// The first stage of the reply parser: pieces of a reply become one string of valid UTF-8 in which
// each control tag is a single byte that UTF-8 never uses. The stages after it need not know
// whether a tag was a token of its own or was spelled out, nor how the text was cut.
//
// A tag counts by its token id where both the tokenizer and the piece have one: the same characters
// spelled by ordinary tokens are then text. Otherwise it counts by its text.
// Thread-safety: one owner.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace m2 {

// Ids of the four control tokens that count by id; -1 where the tokenizer has none (then by text).
struct ReplyTokens {
  int32_t think_begin = -1, think_end = -1, tool_begin = -1, tool_end = -1;
};

// The bytes that stand for the tags in a lexer's output.
enum ReplyTag : unsigned char {
  kThinkBegin = 0xF8,  // <think>
  kThinkEnd,           // </think>
  kToolBegin,          // <minimax:tool_call>
  kToolEnd,            // </minimax:tool_call>
};
inline bool is_reply_tag(char c) { return static_cast<unsigned char>(c) >= kThinkBegin; }
inline ReplyTag reply_tag(char c) { return static_cast<ReplyTag>(static_cast<unsigned char>(c)); }
std::string_view reply_tag_text(ReplyTag tag);

class ReplyLexer {
 public:
  explicit ReplyLexer(const ReplyTokens& tokens);

  // Appends the symbols that are certain now. An id of -1: text without a token.
  void push(int32_t id, std::string_view text, std::string& symbols);
  // Appends what was held back: the start of a tag or of a character.
  void finish(std::string& symbols);

 private:
  void take_characters(std::string_view bytes);
  void flush_bytes(std::string& out);
  void spell(unsigned by_text, std::string& symbols);
  void give_up_partial(std::string& symbols);

  std::array<int32_t, 4> ids_;  // in the order of ReplyTag
  std::string bytes_;           // the start of a character, at most 3 bytes between pieces
  std::string text_;            // scratch: this piece's valid text
  std::string partial_;  // text that may yet become a tag; at most one byte less than the longest
};

}  // namespace m2
