// Reads a request's members one after another, each with its type and bounds. The first fault is
// kept and ends the reading: a message that names the field, the value and the limit. null counts
// as absent everywhere, as clients send it for "not set".
//
// Thread-safety: one owner; the object outlives it.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "json/json.h"

namespace m2 {

class JsonFields {
 public:
  // `path` stands before each name in messages: "stream_options.".
  explicit JsonFields(const json::Object& object, std::string path = "")
      : object_(object), path_(std::move(path)) {}

  // The member, or nullptr where it is absent, null, or a fault has been found before.
  const json::Value* find(std::string_view name) const;

  void boolean(std::string_view name, bool& out);
  void text(std::string_view name, std::string& out, size_t max_bytes);
  void integer(std::string_view name, int64_t& out, int64_t min, int64_t max);
  void number(std::string_view name, double& out, double min, double max);

  void positive(std::string_view name, double& out, double max);  // (0, max]

  template <typename Int>
  void integer(std::string_view name, Int& out, int64_t min = std::numeric_limits<Int>::min(),
               int64_t max = std::numeric_limits<Int>::max()) {
    int64_t value = out;
    integer(name, value, min, max);
    out = static_cast<Int>(value);
  }
  void number(std::string_view name, float& out, double min, double max) {
    double value = out;
    number(name, value, min, max);
    out = static_cast<float>(value);
  }
  void positive(std::string_view name, float& out, double max) {
    double value = out;
    positive(name, value, max);
    out = static_cast<float>(value);
  }
  template <typename Int>
  void integer(std::string_view name, std::optional<Int>& out, int64_t min, int64_t max) {
    if (!find(name)) return;
    int64_t value = min;
    integer(name, value, min, max);
    out = static_cast<Int>(value);
  }

  // Members of the right type, or nullptr.
  const json::Array* array(std::string_view name, size_t max_elements);
  const json::Object* object(std::string_view name);

  void set_fault(Error error) {
    if (!fault_) fault_ = std::move(error);
  }
  template <typename... Args>
  void refuse(std::string_view name, fmt::format_string<Args...> format, Args&&... args) {
    set_fault({ErrorKind::kInvalidArgument, fmt::format(format, std::forward<Args>(args)...),
               path_ + std::string(name)});
  }
  bool failed() const { return fault_.has_value(); }
  Status status() const {
    if (fault_) return tl::unexpected(*fault_);
    return {};
  }

 private:
  void wrong_type(std::string_view name, const char* wanted, const json::Value& value);

  const json::Object& object_;
  const std::string path_;
  std::optional<Error> fault_;
};

// An integer, also where it is written 5.0; none when it is something else or outside int64.
std::optional<int64_t> whole_number(const json::Value& value);

// A value as a message may show it: short, on one line.
std::string shown(const json::Value& value);

}  // namespace m2
