// Takes values out of ParsedFlags into typed fields, with their bounds. The first error sticks, so
// that a command's options read as one list of lines.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/parse_flags.h"

namespace m2::cli {

class FlagReader {
 public:
  explicit FlagReader(const ParsedFlags& flags) : flags_(flags) {}

  template <typename Integer>
  void integer(std::string_view name, Integer& out, int64_t least, int64_t most) {
    const json::Value* value = take(name);
    if (!value) return;
    if (!value->is_int() || value->as_int() < least || value->as_int() > most) {
      refuse(name,
             fmt::format("--{} must be {} to {}, got {}", name, least, most, json::dump(*value)));
      return;
    }
    out = static_cast<Integer>(value->as_int());
  }
  void number(std::string_view name, double& out, double least, double most);
  void text(std::string_view name, std::string& out);
  void flag(std::string_view name, bool& out);
  void texts(std::string_view name, std::vector<std::string>& out);  // a list, or a JSON list
  void object(std::string_view name, json::Object& out);             // a JSON object
  // One of `choices`; returns its index, or -1 when the flag is not given (or refused).
  int choice(std::string_view name, std::initializer_list<std::string_view> choices);

  Status status() const;
  void refuse(std::string_view name, std::string message);

 private:
  const json::Value* take(std::string_view name) const;

  const ParsedFlags& flags_;
  Status status_;
};

}  // namespace m2::cli
