#include "text/reply_parser.h"

#include <utility>

#include "text/tag_matcher.h"
#include "text/tool_call_parser.h"

namespace m2 {

// Works on the lexer's symbols one byte at a time: each is decided by what came before it alone, so
// that the result cannot depend on how the reply was cut.
class ReplyParser::Impl {
 public:
  Impl(ReplyParserOptions options, ReplyTokens tokens, const ToolSchemas& schemas)
      : options_(options),
        raw_(options.reasoning == ReasoningMode::kAppendThink),
        schemas_(schemas),
        lexer_(tokens),
        call_(schemas),
        state_(options.starts_in_reasoning ? State::kReasoning : State::kContent) {}

  ReplyDelta push(int32_t id, std::string_view text);
  ReplyDelta finish();
  int32_t tool_calls() const { return calls_; }

 private:
  enum class State {
    kReasoning,
    kContent,
    kEnvelope,  // inside <minimax:tool_call>, outside a call
    kCall,
  };

  void consume();
  bool step(char c);
  bool step_tag(char c);
  void step_reasoning(char c);
  void step_content(char c);
  void step_envelope(char c);
  void step_call(char c);
  void look_for_call();

  void enter_envelope();
  void leave_envelope();
  void begin_call(const std::string& name);
  bool may_show(const std::string& name) const;
  void add_reasoning(std::string_view text);
  void add_content(std::string_view text);
  void take_arguments();

  const ReplyParserOptions options_;
  const bool raw_;  // reasoning is part of content, tags and all; only calls are taken out
  const ToolSchemas& schemas_;
  ReplyLexer lexer_;
  TagMatcher matcher_;  // of <invoke name=…>, outside calls
  ToolCallParser call_;

  State state_;
  bool in_tag_ = false;       // the matcher is reading one
  bool in_envelope_ = false;  // a <minimax:tool_call> is open
  bool any_symbol_ = false;   // something was read
  bool any_text_ = false;     // something else than blanks was read
  bool any_call_ = false;     // an envelope or a call was read, given out or not
  bool in_text_ = false;      // this stretch of content has had text that is not blank
  bool call_shown_ = false;
  std::string blanks_;   // blanks of reasoning or content that are dropped if no text follows
  std::string symbols_;  // scratch: the piece being read
  int32_t calls_ = 0;
  bool finished_ = false;
  ReplyDelta delta_;
};

ReplyDelta ReplyParser::Impl::push(int32_t id, std::string_view text) {
  delta_ = {};
  if (finished_) return {};
  const bool was_reasoning = state_ == State::kReasoning;
  symbols_.clear();
  lexer_.push(id, text, symbols_);
  consume();
  take_arguments();
  // The tags are no reasoning: neither the one that ends it nor a leading <think>.
  const bool tag = !symbols_.empty() && is_reply_tag(symbols_.back());
  const bool counts = id >= 0 && was_reasoning && state_ == State::kReasoning && !tag;
  delta_.reasoning_tokens = counts ? 1 : 0;
  return std::move(delta_);
}

ReplyDelta ReplyParser::Impl::finish() {
  delta_ = {};
  if (finished_) return {};
  finished_ = true;
  symbols_.clear();
  lexer_.finish(symbols_);
  consume();
  if (state_ == State::kContent) {
    if (in_tag_) add_content(matcher_.text());
    // Beside calls, blanks alone are layout; without any they are the reply.
    if (!any_call_) delta_.content += blanks_;
  } else if (state_ == State::kCall) {
    call_.finish();
    take_arguments();
  }
  return std::move(delta_);
}

void ReplyParser::Impl::consume() {
  if (symbols_.empty()) return;
  // The prompt holds the opening tag that belongs to what the client is shown.
  if (raw_ && options_.starts_in_reasoning && !any_symbol_) {
    add_content(reply_tag_text(kThinkBegin));
  }
  any_symbol_ = true;
  for (const char c : symbols_) {
    while (!step(c)) {
    }
    any_text_ = any_text_ || !is_blank(c);
  }
}

// False: the state has changed and the same byte is to be looked at again.
bool ReplyParser::Impl::step(char c) {
  if (in_tag_) return step_tag(c);
  switch (state_) {
    case State::kReasoning:
      step_reasoning(c);
      break;
    case State::kContent:
      step_content(c);
      break;
    case State::kEnvelope:
      step_envelope(c);
      break;
    case State::kCall:
      step_call(c);
      break;
  }
  return true;
}

bool ReplyParser::Impl::step_tag(char c) {
  TagMatcher::Step step = TagMatcher::Step::kFailed;
  if (!is_reply_tag(c)) step = matcher_.feed(c);
  if (step == TagMatcher::Step::kMore) return true;
  in_tag_ = false;
  if (step == TagMatcher::Step::kMatched) {
    begin_call(matcher_.name());
    return true;
  }
  // A name without end is no call: what looked like one is shown, also inside an envelope.
  if (state_ == State::kEnvelope && matcher_.name_too_long()) leave_envelope();
  if (state_ == State::kContent) add_content(matcher_.text());
  return false;
}

void ReplyParser::Impl::step_reasoning(char c) {
  if (!is_reply_tag(c)) {
    add_reasoning({&c, 1});
    return;
  }
  const ReplyTag tag = reply_tag(c);
  if (tag == kToolBegin && options_.parse_tools) {
    enter_envelope();  // the model forgot </think>
  } else if (tag == kThinkEnd) {
    if (raw_) add_reasoning(reply_tag_text(tag));
    if (!raw_) blanks_.clear();
    state_ = State::kContent;
  } else if (raw_ || tag != kThinkBegin) {
    add_reasoning(reply_tag_text(tag));
  }
}

void ReplyParser::Impl::step_content(char c) {
  if (!is_reply_tag(c)) {
    if (c == '<' && options_.parse_tools) {
      look_for_call();
    } else {
      add_content({&c, 1});
    }
    return;
  }
  const ReplyTag tag = reply_tag(c);
  if (tag == kToolBegin && options_.parse_tools) {
    enter_envelope();
  } else if (tag == kThinkBegin && !any_text_) {
    // Some members open their reasoning themselves.
    if (raw_) add_content(reply_tag_text(tag));
    if (!raw_) blanks_.clear();
    state_ = State::kReasoning;
  } else if ((tag == kThinkEnd && !raw_) || (tag == kToolEnd && options_.parse_tools)) {
    // A stray closing tag says nothing; shown, it would only confuse who reads the content.
  } else {
    add_content(reply_tag_text(tag));
  }
}

// Text between the calls of an envelope is layout, and dropped.
void ReplyParser::Impl::step_envelope(char c) {
  if (c == '<') {
    look_for_call();
  } else if (is_reply_tag(c) && reply_tag(c) == kToolEnd) {
    leave_envelope();
  }
}

void ReplyParser::Impl::step_call(char c) {
  const ToolCallParser::Outcome outcome = call_.step(c);
  if (outcome == ToolCallParser::Outcome::kMore) return;
  take_arguments();
  switch (outcome) {
    case ToolCallParser::Outcome::kMore:
      break;
    // Without an envelope, what comes after a call is content at once.
    case ToolCallParser::Outcome::kEnded:
      state_ = in_envelope_ ? State::kEnvelope : State::kContent;
      break;
    case ToolCallParser::Outcome::kEnvelopeEnded:
      leave_envelope();
      break;
    case ToolCallParser::Outcome::kEnvelopeBegan:
      enter_envelope();
      break;
    case ToolCallParser::Outcome::kNextCall:
      begin_call(call_.next_name());
      break;
  }
}

void ReplyParser::Impl::look_for_call() {
  in_tag_ = true;
  matcher_.begin(kOpenInvoke);
}

void ReplyParser::Impl::enter_envelope() {
  any_call_ = true;
  in_envelope_ = true;
  in_text_ = false;
  blanks_.clear();
  state_ = State::kEnvelope;
}

void ReplyParser::Impl::leave_envelope() {
  in_envelope_ = false;
  state_ = State::kContent;
}

void ReplyParser::Impl::begin_call(const std::string& name) {
  any_call_ = true;
  in_text_ = false;
  blanks_.clear();
  state_ = State::kCall;
  call_shown_ = may_show(name);
  call_.begin(name, call_shown_);
  if (!call_shown_) return;  // it takes no index: those that are shown have none missing
  delta_.tool_calls.push_back({calls_, name, {}, true});
  ++calls_;
}

bool ReplyParser::Impl::may_show(const std::string& name) const {
  if (name.empty() || options_.suppress_tools || calls_ >= options_.max_tool_calls) return false;
  return !options_.strict_names || schemas_.empty() || schemas_.has_tool(name);
}

// Reasoning that is shown as content keeps every byte; else its blank end is dropped.
void ReplyParser::Impl::add_reasoning(std::string_view text) {
  if (raw_) {
    add_content(text);
  } else if (is_blank(text.front())) {
    blanks_ += text;
  } else {
    delta_.reasoning += std::exchange(blanks_, {});
    delta_.reasoning += text;
  }
}

// Blanks wait until the stretch of content has other text: alone before a call they are dropped.
void ReplyParser::Impl::add_content(std::string_view text) {
  if (!in_text_ && is_blank(text.front())) {
    blanks_ += text;
    return;
  }
  in_text_ = true;
  delta_.content += std::exchange(blanks_, {});
  delta_.content += text;
}

// Several pieces of one call in one delta are one.
void ReplyParser::Impl::take_arguments() {
  if (state_ != State::kCall || !call_shown_) return;
  const std::string arguments = call_.take_arguments();
  if (arguments.empty()) return;
  const int32_t index = calls_ - 1;
  if (delta_.tool_calls.empty() || delta_.tool_calls.back().index != index) {
    delta_.tool_calls.push_back({index, {}, {}, false});
  }
  delta_.tool_calls.back().arguments += arguments;
}

ReplyParser::ReplyParser(ReplyParserOptions options, ReplyTokens tokens, const ToolSchemas& schemas)
    : impl_(std::make_unique<Impl>(options, tokens, schemas)) {}
ReplyParser::~ReplyParser() = default;

ReplyDelta ReplyParser::push(int32_t id, std::string_view text) { return impl_->push(id, text); }
ReplyDelta ReplyParser::finish() { return impl_->finish(); }
int32_t ReplyParser::tool_calls() const { return impl_->tool_calls(); }

}  // namespace m2
