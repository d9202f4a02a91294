// Writes one call's arguments as a JSON object while the model writes them as tags and text. What
// it has returned is never taken back: all of it together is valid JSON with each key once.
//   - A string's text goes out as it comes; any other value when it is complete.
//   - A value that may also be null waits until its text can no longer be "null".
//   - The first value of a key wins, since it has been sent when the second comes; parameters
//     without a name are left out.
//
// Thread-safety: one owner. The schemas outlive it. Text must be valid UTF-8 in whole characters.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "text/tool_schema.h"

namespace m2 {

class ArgumentWriter {
 public:
  explicit ArgumentWriter(const ToolSchemas& schemas) : schemas_(schemas) {}

  void begin_call(std::string_view tool);
  void begin_value(std::string_view parameter);
  void add_text(std::string_view text) {
    if (mode_ != Mode::kSkip) raw_ += text;
  }
  void end_value();
  // The reply ended inside the value: a string keeps what there is of it; any other value is left
  // out, for half a number is another number.
  void abandon_value();
  void end_call();

  // The JSON text since the last take().
  std::string take();

 private:
  enum class Mode { kSkip, kString, kStringOrNull, kWhole };

  void open_key();
  void write_string_text();

  const ToolSchemas& schemas_;
  std::string tool_;
  std::set<std::string, std::less<>> keys_;  // written so far
  std::string key_;
  Mode mode_ = Mode::kSkip;
  bool in_string_ = false;  // a string's opening quote is out, its closing one is not
  std::string raw_;         // text of the open value that is not in out_ yet
  std::string out_;
};

}  // namespace m2
