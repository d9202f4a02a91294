// Walks UTF-8 one character at a time, and says of a bad sequence whether more bytes could mend it.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace m2::json {

struct Utf8Step {
  size_t length = 0;   // bytes of the character, or of the maximal invalid sequence; 0 at the end
  bool valid = false;  // a whole, well-formed character (no surrogates, no overlong forms)
  bool incomplete = false;  // not valid only because the text ends here
};

Utf8Step next_utf8(std::string_view text, size_t position);

bool is_valid_utf8(std::string_view text);

// Appends `text`, with U+FFFD for each maximal invalid sequence.
void append_valid_utf8(std::string& out, std::string_view text);

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

}  // namespace m2::json
