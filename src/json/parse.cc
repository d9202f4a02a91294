#include <boost/json/basic_parser_impl.hpp>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "json/json.h"
#include "json/utf8.h"

namespace m2::json {

namespace {

using boost::json::error_code;
using boost::json::string_view;

constexpr size_t kMaxIntegerDigits = 4300;  // what Python's int() reads

// A container that is still open.
struct Frame {
  bool is_object = false;
  std::string key;  // of the member that is being read
  Array elements;
  std::vector<Member> members;
};

// NaN, Infinity and -Infinity are not JSON, and the event parser has no mode for them. They are
// turned into strings of the same length beforehand; the handler knows them by their place among
// all strings of the text.
struct NonFinite {
  size_t string_index = 0;
  double value = 0;
};

std::vector<NonFinite> quote_non_finite(std::string& text) {
  struct Spelling {
    std::string_view text;
    double value;
  };
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  static constexpr Spelling kSpellings[] = {{"NaN", std::numeric_limits<double>::quiet_NaN()},
                                            {"Infinity", kInfinity},
                                            {"-Infinity", -kInfinity}};
  std::vector<NonFinite> found;
  size_t string_index = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i) {
        if (text[i] == '\\') ++i;
      }
      ++string_index;
      continue;
    }
    for (const Spelling& spelling : kSpellings) {
      if (text.compare(i, spelling.text.size(), spelling.text) != 0) continue;
      found.push_back({string_index++, spelling.value});
      text[i] = '"';
      i += spelling.text.size() - 1;
      text[i] = '"';
      break;
    }
  }
  return found;
}

// Builds the value from the parser's events. Sets `problem` and a generic error code to stop.
class Handler {
 public:
  static constexpr size_t max_object_size = static_cast<size_t>(-1);
  static constexpr size_t max_array_size = static_cast<size_t>(-1);
  static constexpr size_t max_key_size = static_cast<size_t>(-1);
  static constexpr size_t max_string_size = static_cast<size_t>(-1);

  Limits limits;
  bool accept_nan = false;
  std::vector<NonFinite> non_finite;
  std::string problem;
  Value root;

  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }
  bool on_object_begin(error_code& ec) { return open(true, ec); }
  bool on_array_begin(error_code& ec) { return open(false, ec); }

  bool on_object_end(size_t, error_code& ec) {
    Value value(Object::from_members(std::move(stack_.back().members)));
    stack_.pop_back();
    return add(std::move(value), ec);
  }
  bool on_array_end(size_t, error_code& ec) {
    Value value(std::move(stack_.back().elements));
    stack_.pop_back();
    return add(std::move(value), ec);
  }

  bool on_key_part(string_view part, size_t, error_code&) { return append(part); }
  bool on_key(string_view part, size_t, error_code& ec) {
    append(part);
    if (take_non_finite()) return stop("a key must be a string", ec);
    stack_.back().key = std::move(text_);
    text_.clear();
    return true;
  }
  bool on_string_part(string_view part, size_t, error_code&) { return append(part); }
  bool on_string(string_view part, size_t, error_code& ec) {
    append(part);
    if (const auto number = take_non_finite()) {
      text_.clear();
      return add(Value(*number), ec);
    }
    Value value(std::move(text_));
    text_.clear();
    return add(std::move(value), ec);
  }

  // The parser's own number is not used: its doubles are not always correctly rounded.
  bool on_number_part(string_view part, error_code&) { return append(part); }
  bool on_int64(int64_t, string_view part, error_code& ec) { return number(part, ec); }
  bool on_uint64(uint64_t, string_view part, error_code& ec) { return number(part, ec); }
  bool on_double(double rough, string_view part, error_code& ec) { return number(part, ec, rough); }
  bool on_bool(bool value, error_code& ec) { return add(Value(value), ec); }
  bool on_null(error_code& ec) { return add(Value(), ec); }
  bool on_comment_part(string_view, error_code&) { return true; }
  bool on_comment(string_view, error_code&) { return true; }

 private:
  bool append(string_view part) {
    text_.append(part.data(), part.size());
    return true;
  }

  bool stop(std::string message, error_code& ec) {
    problem = std::move(message);
    ec = boost::json::make_error_code(boost::json::error::syntax);
    return false;
  }

  bool open(bool is_object, error_code& ec) {
    if (stack_.size() >= limits.max_depth) {
      return stop(fmt::format("nested deeper than {} levels", limits.max_depth), ec);
    }
    stack_.emplace_back().is_object = is_object;
    return true;
  }

  bool add(Value value, error_code& ec) {
    if (stack_.empty()) {
      root = std::move(value);
      return true;
    }
    if (++elements_ > limits.max_elements) {
      return stop(fmt::format("more than {} elements in all", limits.max_elements), ec);
    }
    Frame& frame = stack_.back();
    if (frame.is_object) {
      frame.members.emplace_back(std::move(frame.key), std::move(value));
    } else {
      frame.elements.push_back(std::move(value));
    }
    return true;
  }

  // Counts every string; a value when this one stands for a non-finite number.
  std::optional<double> take_non_finite() {
    const size_t index = string_index_++;
    if (next_non_finite_ == non_finite.size()) return std::nullopt;
    if (non_finite[next_non_finite_].string_index != index) return std::nullopt;
    return non_finite[next_non_finite_++].value;
  }

  bool number(string_view part, error_code& ec, double rough = 0) {
    append(part);
    const std::string text = std::move(text_);
    text_.clear();
    const char* begin = text.data();
    const char* end = begin + text.size();
    if (text.find_first_of(".eE") == std::string::npos) {
      if (text == "-0") return add(Value(0), ec);
      if (text.size() > kMaxIntegerDigits) {
        return stop(fmt::format("an integer of more than {} digits", kMaxIntegerDigits), ec);
      }
      int64_t integer = 0;
      if (std::from_chars(begin, end, integer).ec == std::errc()) return add(Value(integer), ec);
      return add(Value(BigInteger{text}), ec);
    }
    double value = 0;
    if (std::from_chars(begin, end, value).ec == std::errc::result_out_of_range) {
      // The standard leaves open which way; the parser's rough value tells.
      const bool too_large = std::abs(rough) > 1;
      if (too_large && !accept_nan) return stop("a number past the range of double", ec);
      value = std::copysign(too_large ? HUGE_VAL : 0.0, text.starts_with('-') ? -1.0 : 1.0);
    }
    return add(Value(value), ec);
  }

  std::vector<Frame> stack_;
  std::string text_;  // of the key, string or number that is being read
  size_t elements_ = 0;
  size_t string_index_ = 0;
  size_t next_non_finite_ = 0;
};

// Whether `text` ends in the first half of a pair ("\\ud83d"), with or without a backslash after
// it.
bool ends_in_half(std::string_view text) {
  if (text.ends_with('\\')) text.remove_suffix(1);
  if (text.size() < 6) return false;
  const std::string_view end = text.substr(text.size() - 6);
  return end.starts_with("\\u") && (end[2] == 'd' || end[2] == 'D') &&
         std::string_view("89abAB").find(end[3]) != std::string_view::npos;
}

// Boost's words for these are "syntax error", or of its own insides.
std::string reason_of(const error_code& ec, std::string_view text, size_t& position) {
  using boost::json::error;
  const bool syntax = ec == error::syntax;
  if (ec == error::illegal_leading_surrogate || ec == error::illegal_trailing_surrogate ||
      (syntax && ends_in_half(text.substr(0, position)))) {
    return "a lone surrogate (one half of a \\u pair) is no character";
  }
  for (size_t i = 0; syntax && i < text.size();) {
    const Utf8Step step = next_utf8(text, i);
    if (!step.valid) {
      position = i;
      return "the text is not valid UTF-8";
    }
    i += step.length;
  }
  return ec.message();
}

}  // namespace

Result<Value> parse(std::string_view text, const Limits& limits, bool accept_nan) {
  if (text.size() > limits.max_bytes) {
    return fail(ErrorKind::kTooLarge, "", "JSON of {} bytes is over the limit of {}", text.size(),
                limits.max_bytes);
  }
  boost::json::parse_options options;
  options.max_depth = limits.max_depth + 1;  // ours is checked first, with a better message
  boost::json::basic_parser<Handler> parser(options);
  Handler& handler = parser.handler();
  handler.limits = limits;
  handler.accept_nan = accept_nan;
  std::string quoted;
  if (accept_nan && text.find_first_of("NI") != std::string_view::npos) {
    quoted = text;
    handler.non_finite = quote_non_finite(quoted);
    text = quoted;
  }
  error_code ec;
  size_t parsed = parser.write_some(false, text.data(), text.size(), ec);
  if (ec) {
    const std::string reason =
        handler.problem.empty() ? reason_of(ec, text, parsed) : handler.problem;
    return invalid("", "invalid JSON at byte {}: {}", parsed, reason);
  }
  if (parsed != text.size()) return invalid("", "invalid JSON at byte {}: extra text", parsed);
  return std::move(handler.root);
}

}  // namespace m2::json
