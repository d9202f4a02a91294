#include "text/control_marks.h"

#include <algorithm>

namespace m2 {

namespace {

// A character that is a mark, kCut or kEscape itself is written kEscape + kStandIn + its number.
// The stand-ins are no marks, so that a template that cuts the pair apart frees nothing.
constexpr std::string_view kEscape = "\xEF\xB7\x90";  // U+FDD0
constexpr uint32_t kStandIn = 0xF0000;                // plane 15, private use
constexpr uint32_t kFirstNoncharacter = 0xFDD0;       // kEscape and kCut
constexpr uint32_t kNoncharacters = 2;

void append_utf8(std::string& out, uint32_t code) {  // U+0800 and above
  if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
  }
  out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
  out += static_cast<char>(0x80 | (code & 0x3F));
}

// The four-byte character at `position`, or 0.
uint32_t four_byte_code(std::string_view text, size_t position) {
  if (text.size() - position < 4) return 0;
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(text[position + i] & 0x3F); };
  if ((text[position] & 0xF8) != 0xF0) return 0;
  return (static_cast<uint32_t>(text[position]) & 7) << 18 | byte(1) << 12 | byte(2) << 6 | byte(3);
}

bool starts_at(std::string_view text, size_t position, std::string_view what) {
  return text.compare(position, what.size(), what) == 0;
}

}  // namespace

// What stands at one place of a rendered text.
struct ControlMarks::Piece {
  enum class Kind { kText, kMark, kEscaped };
  Kind kind = Kind::kText;
  size_t length = 0;   // in bytes
  uint32_t value = 0;  // the index of the token, or the code of the escaped character
};

Result<ControlMarks> ControlMarks::make(const Tokenizer& tokenizer) {
  if (tokenizer.added_tokens().size() > kMostTokens) {
    return fail(ErrorKind::kUnsupported, "", "the tokenizer has {} added tokens, the limit is {}",
                tokenizer.added_tokens().size(), kMostTokens);
  }
  return ControlMarks(tokenizer);
}

ControlMarks::ControlMarks(const Tokenizer& tokenizer)
    : tokenizer_(&tokenizer),
      tokens_(tokenizer.added_tokens().begin(), tokenizer.added_tokens().end()) {
  const auto index_of = [&](std::string_view text) {
    const auto same = [&](const AddedToken& token) { return token.text == text; };
    return static_cast<size_t>(std::find_if(tokens_.begin(), tokens_.end(), same) -
                               tokens_.begin());
  };
  think_begin_ = index_of("<think>");
  think_end_ = index_of("</think>");
}

void ControlMarks::append_mark(std::string& out, size_t index) const {
  append_utf8(out, kFirstMark + static_cast<uint32_t>(index));
}

// Runs once a template, over a few KiB: plain search is fast enough. The longest spelling wins, as
// it does in the reference tokenizer.
std::string ControlMarks::mark_source(std::string_view source) const {
  std::string out;
  size_t text_begin = 0;
  for (size_t position = 0; position < source.size();) {
    size_t longest = tokens_.size();
    for (size_t i = 0; i < tokens_.size(); ++i) {
      if (tokens_[i].text.empty() || !starts_at(source, position, tokens_[i].text)) continue;
      if (longest == tokens_.size() || tokens_[i].text.size() > tokens_[longest].text.size()) {
        longest = i;
      }
    }
    if (longest == tokens_.size()) {
      ++position;
      continue;
    }
    append_escaped(out, source.substr(text_begin, position - text_begin));
    append_mark(out, longest);
    position += tokens_[longest].text.size();
    text_begin = position;
  }
  append_escaped(out, source.substr(text_begin));
  return out;
}

std::string ControlMarks::escape(std::string_view text) const {
  std::string out;
  append_escaped(out, text);
  return out;
}

void ControlMarks::append_escaped(std::string& out, std::string_view text) const {
  size_t run_begin = 0;
  const auto escape = [&](size_t position, size_t length, uint32_t number) {
    out.append(text, run_begin, position - run_begin);
    out += kEscape;
    append_utf8(out, kStandIn + number);
    run_begin = position + length;
  };
  // All that needs care starts with EF or F4, which are rare.
  for (size_t position = 0; position < text.size(); ++position) {
    const auto byte = static_cast<unsigned char>(text[position]);
    if (byte < 0xEF) continue;
    if (starts_at(text, position, kEscape)) escape(position, kEscape.size(), 0);
    if (starts_at(text, position, kCut)) escape(position, kCut.size(), 1);
    if (byte != 0xF4) continue;
    const uint32_t code = four_byte_code(text, position);
    if (code >= kFirstMark && code < kFirstMark + tokens_.size()) {
      escape(position, 4, kNoncharacters + code - kFirstMark);
    }
  }
  out.append(text, run_begin);
}

bool ControlMarks::has_think_end(std::string_view text) const {
  return think_end_ < tokens_.size() && text.find(tokens_[think_end_].text) != text.npos;
}

// The template splits at any </think>, takes what follows the last <think> before it as reasoning,
// and drops the rest; a <think> after it would come through, so that one stays text.
std::string ControlMarks::escape_thinking(std::string_view text, bool& closed) const {
  std::string out;
  size_t text_begin = 0;
  for (size_t position = 0; position < text.size();) {
    size_t token = tokens_.size();
    for (const size_t candidate : {think_begin_, think_end_}) {
      if (candidate == tokens_.size() || (candidate == think_begin_ && closed)) continue;
      if (starts_at(text, position, tokens_[candidate].text)) token = candidate;
    }
    if (token == tokens_.size()) {
      ++position;
      continue;
    }
    append_escaped(out, text.substr(text_begin, position - text_begin));
    append_mark(out, token);
    closed = closed || token == think_end_;
    position += tokens_[token].text.size();
    text_begin = position;
  }
  append_escaped(out, text.substr(text_begin));
  return out;
}

std::string ControlMarks::escape_open_thinking(std::string_view text) const {
  std::string out;
  if (think_begin_ < tokens_.size() && text.starts_with(tokens_[think_begin_].text)) {
    // Only here, at the very start: the model is to go on from inside its reasoning.
    append_mark(out, think_begin_);
    text.remove_prefix(tokens_[think_begin_].text.size());
  }
  append_escaped(out, text);
  return out;
}

ControlMarks::Piece ControlMarks::next(std::string_view rendered, size_t position) const {
  using Kind = Piece::Kind;
  const auto byte = static_cast<unsigned char>(rendered[position]);
  if (byte == 0xF4) {
    const uint32_t code = four_byte_code(rendered, position);
    if (code >= kFirstMark && code < kFirstMark + tokens_.size()) {
      return {Kind::kMark, 4, code - kFirstMark};
    }
  }
  if (byte == 0xEF && starts_at(rendered, position, kEscape)) {
    const uint32_t number = four_byte_code(rendered, position + kEscape.size()) - kStandIn;
    // A lone kEscape, torn from its stand-in by the template, is text like any other.
    if (number < kNoncharacters + tokens_.size()) {
      const uint32_t code = number < kNoncharacters ? kFirstNoncharacter + number
                                                    : kFirstMark + number - kNoncharacters;
      return {Kind::kEscaped, kEscape.size() + 4, code};
    }
  }
  return {Kind::kText, 1, 0};
}

std::string ControlMarks::plain(std::string_view rendered) const {
  std::string out;
  out.reserve(rendered.size());
  for (size_t position = 0; position < rendered.size();) {
    const Piece piece = next(rendered, position);
    if (piece.kind == Piece::Kind::kMark) {
      out += tokens_[piece.value].text;
    } else if (piece.kind == Piece::Kind::kEscaped) {
      append_utf8(out, piece.value);
    } else {
      out += rendered[position];
    }
    position += piece.length;
  }
  return out;
}

Result<std::vector<int32_t>> ControlMarks::encode(std::string_view rendered) const {
  std::vector<int32_t> ids;
  std::string text;
  // Text is encoded in the longest pieces between control tokens: normalisation and words end at
  // a control token, as they do in the reference tokenizer.
  const auto flush = [&]() -> Status {
    if (text.empty()) return {};
    M2_ASSIGN(const std::vector<int32_t> more, tokenizer_->encode(text, AddedTokens::kAsText));
    ids.insert(ids.end(), more.begin(), more.end());
    text.clear();
    return {};
  };
  for (size_t position = 0; position < rendered.size();) {
    const Piece piece = next(rendered, position);
    if (piece.kind == Piece::Kind::kMark) {
      M2_TRY(flush());
      ids.push_back(tokens_[piece.value].id);
    } else if (piece.kind == Piece::Kind::kEscaped) {
      append_utf8(text, piece.value);
    } else {
      text += rendered[position];
    }
    position += piece.length;
  }
  M2_TRY(flush());
  return ids;
}

}  // namespace m2
