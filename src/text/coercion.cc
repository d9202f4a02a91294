#include "text/coercion.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <string>
#include <vector>

#include "text/tag_matcher.h"

namespace m2 {
namespace {

// Python refuses to read longer integers from text, and so bounds a conversion's cost.
constexpr size_t kMaxIntegerDigits = 4300;
// Of a value that is to be JSON. Deeper or longer than this it stays text.
constexpr json::Limits kValueLimits = {
    .max_bytes = 16u << 20, .max_depth = 64, .max_elements = 1u << 20};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool equals_lower(std::string_view text, std::string_view lower_case) {
  if (text.size() != lower_case.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (lower(text[i]) != lower_case[i]) return false;
  }
  return true;
}

// Appends a run of digits, without its underscores, and drops it from `text`. False when an
// underscore does not stand between two digits. An empty run is fine.
bool take_digits(std::string_view& text, std::string& digits) {
  bool after_digit = false;
  while (!text.empty() && (is_digit(text.front()) || text.front() == '_')) {
    const bool digit = is_digit(text.front());
    if (!digit && (!after_digit || text.size() == 1 || !is_digit(text[1]))) return false;
    if (digit) digits += text.front();
    after_digit = digit;
    text.remove_prefix(1);
  }
  return true;
}

bool take_sign(std::string_view& text) {
  if (text.empty() || (text.front() != '-' && text.front() != '+')) return false;
  const bool negative = text.front() == '-';
  text.remove_prefix(1);
  return negative;
}

// Digits that may have leading zeros; of any size.
json::Value integer_of(std::string_view digits, bool negative) {
  const size_t first = digits.find_first_not_of('0');
  if (first == std::string_view::npos) return json::Value(int64_t{0});
  std::string text = negative ? "-" : "";
  text += digits.substr(first);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc()) return json::Value(value);
  return json::Value(json::BigInteger{std::move(text)});
}

// 5.0 is 5: a schema's "number" that is whole is written as an integer, exactly, also above 2^53.
json::Value number_of(double value) {
  if (value != std::floor(value)) return json::Value(value);
  const std::string text = fmt::format("{:.0f}", std::fabs(value));
  return integer_of(text, value < 0);
}

// A decimal numeral taken apart, for what from_chars leaves open.
struct Decimal {
  std::string text;   // digits, point and exponent without underscores or a leading '+'
  bool tiny = false;  // out of a double's range, it is too small rather than too large
};

std::optional<Decimal> read_decimal(std::string_view rest) {
  Decimal decimal;
  if (take_sign(rest)) decimal.text = "-";
  std::string whole, fraction;
  if (!take_digits(rest, whole)) return std::nullopt;
  decimal.text += whole.empty() ? "0" : whole;
  if (!rest.empty() && rest.front() == '.') {
    rest.remove_prefix(1);
    if (!take_digits(rest, fraction)) return std::nullopt;
    if (!fraction.empty()) decimal.text += '.' + fraction;
  }
  if (whole.empty() && fraction.empty()) return std::nullopt;
  // Without an exponent only hundreds of digits leave the range: before the point, or after it.
  decimal.tiny = whole.find_first_not_of('0') == std::string::npos;
  if (rest.empty()) return decimal;
  if (lower(rest.front()) != 'e') return std::nullopt;
  rest.remove_prefix(1);
  const bool negative = take_sign(rest);
  std::string exponent;
  if (!take_digits(rest, exponent) || exponent.empty() || !rest.empty()) return std::nullopt;
  // An exponent that leaves a double's range outweighs digits before or after the point, unless
  // there are hundreds of them; then the sign still decides well enough between 0 and "no number".
  decimal.tiny = negative;
  decimal.text += negative ? "e-" : "e";
  decimal.text += exponent;
  return decimal;
}

// Python reads 1e999 as infinity, which is no JSON value. Our parser keeps to finite numbers, but
// a literal that overflows may still come out as one. A list instead of recursion: this is the
// model's nesting.
bool all_finite(const json::Value& root) {
  std::vector<const json::Value*> open = {&root};
  while (!open.empty()) {
    const json::Value& value = *open.back();
    open.pop_back();
    if (value.is_double() && !std::isfinite(value.as_double())) return false;
    if (value.is_array()) {
      for (const json::Value& element : value.as_array()) open.push_back(&element);
    } else if (value.is_object()) {
      for (const json::Member& member : value.as_object()) open.push_back(&member.second);
    }
  }
  return true;
}

std::optional<json::Value> parsed_json(std::string_view text) {
  Result<json::Value> value = json::parse(text, kValueLimits);
  if (!value || !all_finite(*value)) return std::nullopt;
  return std::move(*value);
}

std::optional<json::Value> boolean(std::string_view text) {
  const std::string_view trimmed = trim_blanks(text);
  if (trimmed == "1" || equals_lower(trimmed, "true")) return json::Value(true);
  if (trimmed == "0" || equals_lower(trimmed, "false")) return json::Value(false);
  return std::nullopt;
}

struct TypeName {
  std::string_view name;
  TypeSet type;
  bool prefix = false;  // any name that starts so
};

constexpr TypeName kTypeNames[] = {
    {"null", kNullType},       {"string", kStringType},      {"str", kStringType},
    {"text", kStringType},     {"varchar", kStringType},     {"char", kStringType},
    {"enum", kStringType},     {"integer", kIntegerType},    {"int", kIntegerType},
    {"int32", kIntegerType},   {"int64", kIntegerType},      {"uint", kIntegerType, true},
    {"long", kIntegerType},    {"short", kIntegerType},      {"unsigned", kIntegerType},
    {"number", kNumberType},   {"float", kNumberType, true}, {"double", kNumberType},
    {"boolean", kBooleanType}, {"bool", kBooleanType},       {"object", kObjectType},
    {"dict", kObjectType},     {"array", kArrayType},        {"arr", kArrayType},
    {"list", kArrayType},      {"sequence", kArrayType},
};

}  // namespace

TypeSet type_named(std::string_view name) {
  std::string key(trim_blanks(name));
  for (char& c : key) c = lower(c);
  for (const TypeName& entry : kTypeNames) {
    if (entry.prefix ? key.starts_with(entry.name) : key == entry.name) return entry.type;
  }
  return kOtherType;
}

TypeSet type_of(const json::Value& value) {
  if (value.is_null()) return kNullType;
  if (value.is_bool()) return kBooleanType;
  if (value.is_int() || value.is_big_integer()) return kIntegerType;
  if (value.is_double()) return kNumberType;
  if (value.is_string()) return kStringType;
  return value.is_array() ? kArrayType : kObjectType;
}

std::optional<json::Value> python_int(std::string_view text) {
  std::string_view rest = trim_blanks(text);
  const bool negative = take_sign(rest);
  std::string digits;
  if (!take_digits(rest, digits) || digits.empty() || !rest.empty()) return std::nullopt;
  if (digits.size() > kMaxIntegerDigits) return std::nullopt;
  return integer_of(digits, negative);
}

std::optional<json::Value> python_float(std::string_view text) {
  const std::optional<Decimal> decimal = read_decimal(trim_blanks(text));
  if (!decimal) return std::nullopt;
  const std::string& digits = decimal->text;
  double value = 0.0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error == std::errc::result_out_of_range) {
    if (!decimal->tiny) return std::nullopt;
    value = 0.0;
  } else if (error != std::errc() || end != digits.data() + digits.size()) {
    return std::nullopt;
  }
  if (!std::isfinite(value)) return std::nullopt;
  return number_of(value);
}

json::Value coerce_text(TypeSet types, std::string_view raw) {
  if ((types & kNullType) && equals_lower(raw, "null")) return json::Value(nullptr);
  if (types & kIntegerType) {
    if (auto value = python_int(raw)) return std::move(*value);
  }
  if (types & kNumberType) {
    if (auto value = python_float(raw)) return std::move(*value);
  }
  if (types & kBooleanType) {
    if (auto value = boolean(raw)) return std::move(*value);
  }
  // Any JSON is taken for an object or an array, as it is for what fits no type at all.
  const bool text_first = (types & kStringType) && !(types & (kObjectType | kArrayType));
  if (!text_first) {
    if (auto value = parsed_json(raw)) return std::move(*value);
  }
  return json::Value(raw);
}

}  // namespace m2
