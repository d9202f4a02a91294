#include "text/tag_matcher.h"

namespace m2 {

std::string_view trim_blanks(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

void TagMatcher::begin(unsigned allowed) {
  part_ = Part::kStart;
  allowed_ = allowed;
  closing_ = false;
  matched_ = 0;
  expected_ = {};
  quote_ = 0;
  blanks_ = 0;
  blank_before_ = false;
  name_too_long_ = false;
  name_.clear();
  text_ = "<";
}

TagMatcher::Step TagMatcher::feed(char c) {
  const Step step = advance(c);
  blank_before_ = is_blank(c);
  if (step != Step::kFailed) text_ += c;
  return step;
}

TagMatcher::Step TagMatcher::advance(char c) {
  switch (part_) {
    case Part::kStart:
      return start(c);
    case Part::kWord:
      return word(c);
    case Part::kNameWord:
      if (matched_ == 0 && is_blank(c)) return blank();
      // "<invokename" is no tag: a blank stands between the two words.
      if ((matched_ == 0 && !blank_before_) || c != expected_[matched_]) return Step::kFailed;
      if (++matched_ == expected_.size()) part_ = Part::kEquals;
      return Step::kMore;
    case Part::kEquals:
      if (is_blank(c)) return blank();
      if (c != '=') return Step::kFailed;
      part_ = Part::kNameStart;
      return Step::kMore;
    case Part::kNameStart:
      if (is_blank(c)) return blank();
      part_ = Part::kName;
      if (c != '"' && c != '\'') return name(c);
      quote_ = c;
      return Step::kMore;
    case Part::kName:
      return name(c);
    case Part::kEnd:
      if (is_blank(c)) return blank();
      return c == '>' ? matched() : Step::kFailed;
  }
  return Step::kFailed;
}

TagMatcher::Step TagMatcher::blank() {
  return ++blanks_ > kMaxTagBlanks ? Step::kFailed : Step::kMore;
}

// Before the word, whose first letter says which of the two it has to be.
TagMatcher::Step TagMatcher::start(char c) {
  if (is_blank(c)) return blank();
  if (c == '/' && !closing_) {
    closing_ = true;
    return Step::kMore;
  }
  if (c != 'i' && c != 'p') return Step::kFailed;
  expected_ = c == 'i' ? "invoke" : "parameter";
  kind_ = c == 'i' ? (closing_ ? kCloseInvoke : kOpenInvoke)
                   : (closing_ ? kCloseParameter : kOpenParameter);
  if ((allowed_ & kind_) == 0) return Step::kFailed;
  part_ = Part::kWord;
  matched_ = 1;
  return Step::kMore;
}

TagMatcher::Step TagMatcher::word(char c) {
  if (c != expected_[matched_]) return Step::kFailed;
  if (++matched_ < expected_.size()) return Step::kMore;
  part_ = closing_ ? Part::kEnd : Part::kNameWord;
  expected_ = "name";
  matched_ = 0;
  return Step::kMore;
}

TagMatcher::Step TagMatcher::name(char c) {
  // A '>' ends the tag even where the closing quote was forgotten.
  if (c == '>') return matched();
  // No name holds these: text that only begins like a tag is let go at the end of its line.
  if (c == '<' || c == '\n') return Step::kFailed;
  if (quote_ != 0 ? c == quote_ : is_blank(c)) {
    part_ = Part::kEnd;
    return Step::kMore;
  }
  if (name_.size() == kMaxNameBytes) {
    name_too_long_ = true;
    return Step::kFailed;
  }
  name_ += c;
  return Step::kMore;
}

TagMatcher::Step TagMatcher::matched() {
  name_ = std::string(trim_blanks(name_));
  return Step::kMatched;
}

}  // namespace m2
