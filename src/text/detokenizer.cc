#include "text/detokenizer.h"

#include "json/utf8.h"

namespace m2 {

std::string Detokenizer::push(int32_t id) {
  if (skip_special_ && tokenizer_.is_special(id)) return {};
  held_ += tokenizer_.token_bytes(id);
  std::string out;
  size_t position = 0;
  while (position < held_.size()) {
    const json::Utf8Step step = json::next_utf8(held_, position);
    if (step.incomplete) break;  // the next token may complete it
    out += step.valid ? std::string_view(held_).substr(position, step.length)
                      : json::kReplacementCharacter;
    position += step.length;
  }
  held_.erase(0, position);
  return out;
}

std::string Detokenizer::flush() {
  std::string out;
  json::append_valid_utf8(out, held_);
  held_.clear();
  return out;
}

}  // namespace m2
