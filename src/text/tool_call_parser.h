// The inside of one tool call, from after <invoke name="f"> to its end: parameters and their
// values, and where text that looks like a closing tag is a value's own text.
//
// Works on the symbols of text/reply_lexer.h, one byte at a time; each is decided by what came
// before it alone. A byte is looked at twice at most after a tag that failed, once more when a
// closing tag turned out to be text: linear in all.
// Thread-safety: one owner. The schemas outlive it.
#pragma once

#include <string>
#include <string_view>

#include "text/argument_writer.h"
#include "text/tag_matcher.h"
#include "text/tool_schema.h"

namespace m2 {

class ToolCallParser {
 public:
  // What a byte did to the call.
  enum class Outcome {
    kMore,
    kEnded,          // </invoke>
    kEnvelopeEnded,  // </minimax:tool_call>
    kEnvelopeBegan,  // a new <minimax:tool_call>, where the old one was left open
    kNextCall,       // the next <invoke name=…>; next_name() has its name
  };

  explicit ToolCallParser(const ToolSchemas& schemas) : writer_(schemas) {}

  // A call that is not shown is read the same, but writes nothing.
  void begin(std::string_view name, bool shown);
  Outcome step(char c);
  // The reply ended inside the call.
  void finish();

  const std::string& next_name() const { return matcher_.name(); }
  // The arguments' JSON text since the last time.
  std::string take_arguments() { return shown_ ? writer_.take() : std::string(); }

 private:
  enum class State {
    kBetween,  // outside a value: other text than tags is dropped
    kValue,
    kClosing,  // in a value, after a tag that ends it if what follows agrees
  };
  enum class Closer { kParameter, kInvoke, kEnvelope };

  bool advance(char c, Outcome& outcome);
  bool advance_tag(char c, Outcome& outcome);
  bool advance_value(char c);
  bool advance_closing(char c, Outcome& outcome);
  Outcome on_tag();
  void on_no_tag();
  void look_for(unsigned tags);
  void hold(Closer closer, std::string_view text);
  void keep_held();
  void begin_value();
  void end_value();
  Outcome end(Outcome outcome);

  TagMatcher matcher_;
  ArgumentWriter writer_;
  State state_ = State::kBetween;
  bool shown_ = false;
  bool in_tag_ = false;  // the matcher is reading one
  Closer closer_ = Closer::kParameter;
  std::string held_;  // kClosing: the closing tag and the blanks after it, as they were written
};

}  // namespace m2
