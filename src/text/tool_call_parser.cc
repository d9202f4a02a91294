#include "text/tool_call_parser.h"

#include "text/reply_lexer.h"

namespace m2 {
namespace {

// The tags that are looked for in a value; all others are its text.
constexpr unsigned kValueTags = kOpenParameter | kCloseParameter | kCloseInvoke;
// Where the reply ends inside a tag, this much of it makes it a tag rather than text ("</", "<p").
constexpr size_t kEnoughOfATag = 4;

}  // namespace

void ToolCallParser::begin(std::string_view name, bool shown) {
  shown_ = shown;
  state_ = State::kBetween;
  in_tag_ = false;
  writer_.begin_call(name);
}

ToolCallParser::Outcome ToolCallParser::step(char c) {
  Outcome outcome = Outcome::kMore;
  while (!advance(c, outcome)) {
  }
  return outcome;
}

// False: the state has changed and the same byte is to be looked at again.
bool ToolCallParser::advance(char c, Outcome& outcome) {
  if (in_tag_) return advance_tag(c, outcome);
  switch (state_) {
    case State::kBetween:
      if (c == '<') {
        look_for(kOpenParameter | kCloseInvoke | kOpenInvoke);
      } else if (is_reply_tag(c) && reply_tag(c) == kToolEnd) {
        outcome = end(Outcome::kEnvelopeEnded);  // its </invoke> was forgotten
      }
      return true;
    case State::kValue:
      return advance_value(c);
    case State::kClosing:
      return advance_closing(c, outcome);
  }
  return true;
}

bool ToolCallParser::advance_tag(char c, Outcome& outcome) {
  TagMatcher::Step step = TagMatcher::Step::kFailed;
  if (!is_reply_tag(c)) step = matcher_.feed(c);
  if (step == TagMatcher::Step::kMore) return true;
  in_tag_ = false;
  if (step == TagMatcher::Step::kMatched) {
    outcome = on_tag();
    return true;
  }
  on_no_tag();
  return false;
}

bool ToolCallParser::advance_value(char c) {
  if (c == '<') {
    look_for(kValueTags);
  } else if (!is_reply_tag(c)) {
    writer_.add_text({&c, 1});
  } else if (reply_tag(c) == kToolEnd) {
    hold(Closer::kEnvelope, reply_tag_text(kToolEnd));
  } else {
    writer_.add_text(reply_tag_text(reply_tag(c)));
  }
  return true;
}

// What follows a closing tag says whether it was one.
bool ToolCallParser::advance_closing(char c, Outcome& outcome) {
  if (is_blank(c)) {
    held_ += c;
    return true;
  }
  if (c == '<' && closer_ != Closer::kEnvelope) {
    look_for(closer_ == Closer::kParameter ? kOpenParameter | kCloseInvoke : kOpenInvoke);
    return true;
  }
  const bool ends = is_reply_tag(c) && reply_tag(c) == kToolEnd && closer_ != Closer::kEnvelope;
  const bool begins =
      is_reply_tag(c) && reply_tag(c) == kToolBegin && closer_ != Closer::kParameter;
  if (!ends && !begins) {
    keep_held();
    return false;
  }
  end_value();
  outcome = end(ends ? Outcome::kEnvelopeEnded : Outcome::kEnvelopeBegan);
  return true;
}

// A whole tag was read, one that was looked for in this state.
ToolCallParser::Outcome ToolCallParser::on_tag() {
  const TagKind kind = matcher_.kind();
  if (state_ == State::kValue && kind != kOpenParameter) {
    hold(kind == kCloseParameter ? Closer::kParameter : Closer::kInvoke, matcher_.text());
    return Outcome::kMore;
  }
  if (state_ != State::kBetween) end_value();
  if (kind == kOpenInvoke) return end(Outcome::kNextCall);
  if (kind == kCloseInvoke) return end(Outcome::kEnded);
  begin_value();
  return Outcome::kMore;
}

void ToolCallParser::on_no_tag() {
  if (state_ == State::kBetween) return;
  const std::string text = matcher_.text();
  if (state_ == State::kValue) {
    writer_.add_text(text);
    return;
  }
  // What was read as the tag after a closing tag is in the value again, and may be another tag's
  // beginning there: "</parameter></par" fails at its 'p', and yet goes on as a closing tag. It
  // holds one '<', its first byte, and is no whole tag; so this ends here, whatever comes.
  keep_held();
  look_for(kValueTags);
  for (size_t i = 1; i < text.size() && in_tag_; ++i) {
    in_tag_ = matcher_.feed(text[i]) == TagMatcher::Step::kMore;
  }
  if (!in_tag_) writer_.add_text(text);
}

void ToolCallParser::look_for(unsigned tags) {
  in_tag_ = true;
  matcher_.begin(tags);
}

void ToolCallParser::hold(Closer closer, std::string_view text) {
  state_ = State::kClosing;
  closer_ = closer;
  held_ = text;
}

void ToolCallParser::keep_held() {
  writer_.add_text(held_);
  held_.clear();
  state_ = State::kValue;
}

void ToolCallParser::begin_value() {
  writer_.begin_value(shown_ ? std::string_view(matcher_.name()) : std::string_view());
  state_ = State::kValue;
}

void ToolCallParser::end_value() {
  writer_.end_value();
  held_.clear();
  state_ = State::kBetween;
}

ToolCallParser::Outcome ToolCallParser::end(Outcome outcome) {
  writer_.end_call();
  return outcome;
}

// What is given out must end as JSON, however little of the call was written.
void ToolCallParser::finish() {
  if (state_ == State::kClosing) {
    end_value();  // the end of the reply agrees, and so does the beginning of a tag
  } else if (state_ == State::kValue) {
    const bool cut_tag = in_tag_ && matcher_.text().size() >= kEnoughOfATag;
    if (in_tag_ && !cut_tag) writer_.add_text(matcher_.text());
    writer_.abandon_value();
  }
  writer_.end_call();
}

}  // namespace m2
