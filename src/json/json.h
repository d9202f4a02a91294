// JSON values that keep what matters to a prompt: key order, the difference between 1 and 1.0, and
// integers of any size. parse() is a thin layer over Boost.JSON's event parser, with limits;
// dump_python() writes the very bytes of Python's json.dumps(ensure_ascii=False).
//
// Thread-safety: plain values. No function throws. Strings are valid UTF-8 after parse().
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"

namespace m2::json {

class Value;
using Array = std::vector<Value>;
using Member = std::pair<std::string, Value>;

// Members in the order of the text. A repeated key keeps its first place and takes the last value,
// as Python's json.loads does.
class Object {
 public:
  Object() = default;
  // Any number of members, in linear time: set() one by one is quadratic.
  static Object from_members(std::vector<Member> members);

  const Value* find(std::string_view key) const;  // nullptr when absent
  Value* find(std::string_view key);
  Value& set(std::string_view key, Value value);  // replaces in place or appends
  bool erase(std::string_view key);

  bool contains(std::string_view key) const { return find(key) != nullptr; }
  bool empty() const;
  size_t size() const;
  std::vector<Member>::const_iterator begin() const;
  std::vector<Member>::const_iterator end() const;
  std::vector<Member>::iterator begin();
  std::vector<Member>::iterator end();

 private:
  std::vector<Member> members_;
};

// An integer outside int64, by its decimal digits (optional '-', no leading zeros).
struct BigInteger {
  std::string digits;
  bool operator==(const BigInteger&) const = default;
};

class Value {
 public:
  using Storage =
      std::variant<std::nullptr_t, bool, int64_t, BigInteger, double, std::string, Array, Object>;

  Value() : storage_(nullptr) {}
  Value(std::nullptr_t) : storage_(nullptr) {}
  Value(bool value) : storage_(value) {}
  Value(int value) : storage_(static_cast<int64_t>(value)) {}
  Value(int64_t value) : storage_(value) {}
  Value(uint64_t value);  // a BigInteger above int64
  Value(BigInteger value) : storage_(std::move(value)) {}
  Value(double value) : storage_(value) {}
  Value(const char* value) : storage_(std::string(value)) {}
  Value(std::string_view value) : storage_(std::string(value)) {}
  Value(std::string value) : storage_(std::move(value)) {}
  Value(Array value) : storage_(std::move(value)) {}
  Value(Object value) : storage_(std::move(value)) {}

  bool is_null() const { return std::holds_alternative<std::nullptr_t>(storage_); }
  bool is_bool() const { return std::holds_alternative<bool>(storage_); }
  bool is_int() const { return std::holds_alternative<int64_t>(storage_); }
  bool is_big_integer() const { return std::holds_alternative<BigInteger>(storage_); }
  bool is_double() const { return std::holds_alternative<double>(storage_); }
  bool is_number() const { return is_int() || is_double() || is_big_integer(); }
  bool is_string() const { return std::holds_alternative<std::string>(storage_); }
  bool is_array() const { return std::holds_alternative<Array>(storage_); }
  bool is_object() const { return std::holds_alternative<Object>(storage_); }

  // The caller has checked the type; a wrong one is a programmer fault (M2_CHECK).
  bool as_bool() const;
  int64_t as_int() const;
  double as_double() const;  // any number
  const std::string& as_string() const;
  std::string& as_string();
  const Array& as_array() const;
  Array& as_array();
  const Object& as_object() const;
  Object& as_object();

  // Null-safe look-up: nullptr when this is no object or has no such member.
  const Value* find(std::string_view key) const;

  const Storage& storage() const { return storage_; }
  // 1 and 1.0 differ; the order of members does not count.
  bool operator==(const Value& other) const;

 private:
  Storage storage_;
};

// Here, since clang looks into Member as soon as it meets their bodies.
inline bool Object::empty() const { return members_.empty(); }
inline size_t Object::size() const { return members_.size(); }
inline std::vector<Member>::const_iterator Object::begin() const { return members_.begin(); }
inline std::vector<Member>::const_iterator Object::end() const { return members_.end(); }
inline std::vector<Member>::iterator Object::begin() { return members_.begin(); }
inline std::vector<Member>::iterator Object::end() { return members_.end(); }

// "null", "a boolean", "an integer", "a number", "a string", "an array", "an object": for messages.
const char* type_name(const Value& value);

struct Limits {
  size_t max_bytes = 64u << 20;
  size_t max_depth = 64;
  size_t max_elements = 4u << 20;  // array elements and object members in all
};

// Strict JSON (RFC 8259); `accept_nan` adds NaN, Infinity and -Infinity as Python does.
// Errors name the byte offset. Lone surrogates, integers of more than 4,300 digits (Python's own
// bound) and, without `accept_nan`, numbers past the range of double are refused. Recursion is
// bounded by `max_depth`.
Result<Value> parse(std::string_view text, const Limits& limits = {}, bool accept_nan = false);

// As Python's json.dumps(value, ensure_ascii=False): ", " and ": " separators, repr floats
// (1.0, 1e-05, 1e+16), NaN and Infinity spelled so.
std::string dump_python(const Value& value);

// Compact ("," and ":"), for replies. Non-finite numbers are written as null.
std::string dump(const Value& value);

// Appends `text` as a JSON string, with its quotes. Invalid UTF-8 becomes U+FFFD.
void append_quoted(std::string& out, std::string_view text);

}  // namespace m2::json
