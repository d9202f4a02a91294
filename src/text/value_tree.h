// Writes JSON values in the binary form that the template engine reads (ffi/m2_text_ffi.h): exact
// doubles, integers of any size, keys in order.
//
// Thread-safety: one owner.
#pragma once

#include <string>
#include <string_view>

#include "json/json.h"
#include "text/control_marks.h"

namespace m2 {

class ValueTree {
 public:
  // With marks, every string and key is escaped as client text; without, it goes in as it is.
  explicit ValueTree(const ControlMarks* marks) : marks_(marks) {}

  void add(const json::Value& value);
  // A container: this, then `count` values (each after its key, in a map).
  void begin_list(size_t count);
  void begin_map(size_t count);
  void add_key(std::string_view key);
  void add_raw_string(std::string_view text);  // escaped already

  const std::string& bytes() const { return bytes_; }

 private:
  void add_text(std::string_view text);
  void add_client_text(std::string_view text);
  void add_count(size_t count);

  const ControlMarks* marks_;
  std::string bytes_;
};

}  // namespace m2
