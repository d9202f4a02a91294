#include <charconv>
#include <cmath>
#include <cstring>

#include "json/json.h"
#include "json/utf8.h"

namespace m2::json {

namespace {

struct Style {
  std::string_view item_separator;
  std::string_view key_separator;
  bool names_non_finite;  // NaN and Infinity by name, else null
};

// float.__repr__: the shortest digits that read back as the same double, positional while the
// decimal exponent is in [-4, 16), else d.ddde+XX with at least two digits of exponent.
void append_float(std::string& out, double value, const Style& style) {
  if (!std::isfinite(value)) {
    const char* name = std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
    out += style.names_non_finite ? name : "null";
    return;
  }
  char buffer[32];
  const auto end =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific).ptr;
  const char* mark = static_cast<const char*>(std::memchr(buffer, 'e', end - buffer));
  int exponent = 0;
  std::from_chars(mark[1] == '+' ? mark + 2 : mark + 1, end, exponent);
  if (exponent < -4 || exponent >= 16) {
    out.append(buffer, end);  // to_chars writes exponents as C does: a sign and two digits
    return;
  }
  std::string digits;
  for (const char* c = buffer; c != mark; ++c) {
    if (*c == '-') out += '-';
    if (*c >= '0' && *c <= '9') digits += *c;
  }
  if (exponent < 0) {
    out += "0.";
    out.append(static_cast<size_t>(-exponent - 1), '0');
    out += digits;
    return;
  }
  const size_t whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) digits.append(whole + 1 - digits.size(), '0');  // "1" becomes "1.0"
  out.append(digits, 0, whole);
  out += '.';
  out.append(digits, whole);
}

// Depth is bounded: values come from parse(), or from our own code, which builds shallow ones.
void append_value(std::string& out, const Value& value, const Style& style) {
  if (value.is_null()) {
    out += "null";
  } else if (value.is_bool()) {
    out += value.as_bool() ? "true" : "false";
  } else if (value.is_int()) {
    out += std::to_string(value.as_int());
  } else if (value.is_big_integer()) {
    out += std::get<BigInteger>(value.storage()).digits;
  } else if (value.is_double()) {
    append_float(out, value.as_double(), style);
  } else if (value.is_string()) {
    append_quoted(out, value.as_string());
  } else if (value.is_array()) {
    std::string_view separator;
    out += '[';
    for (const Value& element : value.as_array()) {
      out += separator;
      append_value(out, element, style);
      separator = style.item_separator;
    }
    out += ']';
  } else {
    std::string_view separator;
    out += '{';
    for (const auto& [key, member] : value.as_object()) {
      out += separator;
      append_quoted(out, key);
      out += style.key_separator;
      append_value(out, member, style);
      separator = style.item_separator;
    }
    out += '}';
  }
}

// The escape of a byte as Python's encoder writes it, or "" when the byte stands for itself.
std::string_view escape_of(char c, char (&buffer)[7]) {
  switch (c) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    default:
      break;
  }
  if (static_cast<unsigned char>(c) >= 0x20) return {};
  constexpr char kHex[] = "0123456789abcdef";
  std::memcpy(buffer, "\\u00", 4);
  buffer[4] = kHex[c >> 4];
  buffer[5] = kHex[c & 15];
  return {buffer, 6};
}

}  // namespace

std::string dump_python(const Value& value) {
  std::string out;
  append_value(out, value, {", ", ": ", true});
  return out;
}

std::string dump(const Value& value) {
  std::string out;
  append_value(out, value, {",", ":", false});
  return out;
}

void append_quoted(std::string& out, std::string_view text) {
  out.reserve(out.size() + text.size() + 2);
  out += '"';
  // Runs of bytes that need no care are copied at once.
  size_t run_begin = 0;
  size_t position = 0;
  const auto flush = [&] { out.append(text, run_begin, position - run_begin); };
  while (position < text.size()) {
    if (static_cast<unsigned char>(text[position]) < 0x80) {
      char buffer[7];
      const std::string_view escape = escape_of(text[position], buffer);
      if (!escape.empty()) {
        flush();
        out += escape;
        run_begin = position + 1;
      }
      ++position;
      continue;
    }
    const Utf8Step step = next_utf8(text, position);
    if (!step.valid) {
      flush();
      out += kReplacementCharacter;
      run_begin = position + step.length;
    }
    position += step.length;
  }
  flush();
  out += '"';
}

}  // namespace m2::json
