// Recognises the tags of a tool call one character at a time, from their '<' on:
//   <invoke name="f">  </invoke>  <parameter name="k">  </parameter>
// Names may be quoted with " or ', or bare; blanks may stand where XML allows them. Every tag is
// bounded (kMaxNameBytes, kMaxTagBlanks), so what is held back while one is read is, too.
//
// Thread-safety: one owner. A tag's text holds one '<' only, its first character: the parser relies
// on it when it looks again at text that turned out to be no tag.
#pragma once

#include <string>
#include <string_view>

namespace m2 {

enum TagKind : unsigned {
  kOpenInvoke = 1,
  kCloseInvoke = 2,
  kOpenParameter = 4,
  kCloseParameter = 8,
};

class TagMatcher {
 public:
  static constexpr int kMaxNameBytes = 256;
  static constexpr int kMaxTagBlanks = 64;
  enum class Step { kMore, kMatched, kFailed };

  // A '<' was read; `allowed` is the sum of the kinds that may follow.
  void begin(unsigned allowed);
  // After kFailed, text() is without `c`, which starts afresh.
  Step feed(char c);

  TagKind kind() const { return kind_; }                 // after kMatched
  const std::string& name() const { return name_; }      // trimmed; of an opening tag
  const std::string& text() const { return text_; }      // everything since the '<'
  bool name_too_long() const { return name_too_long_; }  // why it failed

 private:
  enum class Part { kStart, kWord, kNameWord, kEquals, kNameStart, kName, kEnd };

  Step advance(char c);
  Step blank();
  Step start(char c);
  Step word(char c);
  Step name(char c);
  Step matched();

  Part part_ = Part::kStart;
  unsigned allowed_ = 0;
  TagKind kind_ = kOpenInvoke;
  bool closing_ = false;       // a '/' was read
  size_t matched_ = 0;         // characters of the word being matched
  std::string_view expected_;  // that word: "invoke", "parameter", "name"
  char quote_ = 0;             // the name's quote, 0 for a bare one
  int blanks_ = 0;
  bool blank_before_ = false;  // the character before this one was blank
  bool name_too_long_ = false;
  std::string name_;
  std::string text_;
};

// Space, tab, newline, carriage return, form feed, vertical tab.
inline bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
std::string_view trim_blanks(std::string_view text);

}  // namespace m2
