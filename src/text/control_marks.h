// How a rendered prompt says which of its text is a control token.
//
// Each added token has a mark: one private-use character. In the template's source every spelling
// of an added token is replaced by its mark, once, at load. What a client sends keeps its spelling;
// only characters that are marks themselves are escaped. So a mark in the rendered text came from
// the template, and everything else is ordinary text: no client string, whole or cut, alone or next
// to the template's text, can become a control token, and the template's own logic on client
// strings (strip, split, in, tojson) sees them as they are.
//
// Thread-safety: const after construction.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/tokenizer.h"

namespace m2 {

class ControlMarks {
 public:
  static constexpr uint32_t kFirstMark = 0x100000;  // plane 16, private use; one a token
  static constexpr size_t kMostTokens = 60'000;
  // Ends the text of a final message that is to be continued (a noncharacter, U+FDD1).
  static constexpr std::string_view kCut = "\xEF\xB7\x91";

  // The tokenizer outlives the marks. kUnsupported when it has too many added tokens.
  static Result<ControlMarks> make(const Tokenizer& tokenizer);

  // The template's source with every added token's spelling replaced (the longest at each place).
  std::string mark_source(std::string_view source) const;

  // Client text, unable to speak control tokens.
  std::string escape(std::string_view text) const;

  // An assistant turn's own reasoning, the one place where a client may speak control tokens:
  // <think> before the first </think>, and every </think>. `closed` says whether a </think> has
  // come in an earlier part of the same content.
  std::string escape_thinking(std::string_view text, bool& closed) const;
  // An assistant turn that ends inside its reasoning and is to be continued: the leading <think>.
  std::string escape_open_thinking(std::string_view text) const;
  bool has_think_end(std::string_view text) const;

  // Rendered text as a person reads it.
  std::string plain(std::string_view rendered) const;
  // Marks become their tokens; the text between is encoded without added tokens.
  Result<std::vector<int32_t>> encode(std::string_view rendered) const;

 private:
  explicit ControlMarks(const Tokenizer& tokenizer);

  struct Piece;
  Piece next(std::string_view rendered, size_t position) const;
  void append_mark(std::string& out, size_t index) const;
  void append_escaped(std::string& out, std::string_view text) const;

  const Tokenizer* tokenizer_;
  std::vector<AddedToken> tokens_;  // mark i stands for tokens_[i]
  size_t think_begin_;              // index of <think>, or tokens_.size()
  size_t think_end_;
};

}  // namespace m2
