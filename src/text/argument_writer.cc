#include "text/argument_writer.h"

#include <utility>

#include "json/json.h"

namespace m2 {
namespace {

// True of each beginning of "null", in any case, and of nothing else.
bool may_become_null(std::string_view text) {
  constexpr std::string_view kNull = "null";
  if (text.size() > kNull.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((text[i] | 0x20) != kNull[i]) return false;
  }
  return true;
}

}  // namespace

void ArgumentWriter::begin_call(std::string_view tool) {
  tool_ = tool;
  keys_.clear();
  raw_.clear();
  out_.clear();
  mode_ = Mode::kSkip;
  in_string_ = false;
}

void ArgumentWriter::begin_value(std::string_view parameter) {
  raw_.clear();
  key_ = parameter;
  if (key_.empty() || keys_.contains(key_)) {
    mode_ = Mode::kSkip;
    return;
  }
  const TypeSet types = schemas_.types(tool_, key_);
  mode_ = types == kStringType                 ? Mode::kString
          : types == (kStringType | kNullType) ? Mode::kStringOrNull
                                               : Mode::kWhole;
  if (mode_ == Mode::kString) open_key();
}

void ArgumentWriter::end_value() {
  if (mode_ == Mode::kStringOrNull && !may_become_null(raw_)) mode_ = Mode::kString;
  if (mode_ == Mode::kString) {
    write_string_text();
    out_ += '"';
    in_string_ = false;
  } else if (mode_ != Mode::kSkip) {
    open_key();
    out_ += json::dump_python(schemas_.coerce(tool_, key_, raw_));
  }
  raw_.clear();
  mode_ = Mode::kSkip;
}

void ArgumentWriter::abandon_value() {
  if (mode_ == Mode::kWhole) mode_ = Mode::kSkip;
  end_value();
}

void ArgumentWriter::end_call() { out_ += keys_.empty() ? "{}" : "}"; }

std::string ArgumentWriter::take() {
  if (mode_ == Mode::kStringOrNull && !may_become_null(raw_)) mode_ = Mode::kString;
  if (mode_ == Mode::kString) write_string_text();
  return std::exchange(out_, {});
}

// `"key": `, and the opening quote of a string.
void ArgumentWriter::open_key() {
  out_ += keys_.empty() ? "{" : ", ";
  json::append_quoted(out_, key_);
  out_ += ": ";
  keys_.insert(key_);
  if (mode_ != Mode::kString) return;
  out_ += '"';
  in_string_ = true;
}

void ArgumentWriter::write_string_text() {
  if (!in_string_) open_key();  // one that might have been null until now
  // Escapes stand for one character each, and the text is whole characters: none is ever split.
  std::string quoted;
  json::append_quoted(quoted, raw_);
  out_ += std::string_view(quoted).substr(1, quoted.size() - 2);
  raw_.clear();
}

}  // namespace m2
