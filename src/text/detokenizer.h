// Turns one choice's tokens into text as they come. Bytes of a split UTF-8 character are held back
// until it is whole, so that every piece is valid UTF-8 and nothing is shown early or lost.
//
// Thread-safety: one owner. The tokenizer outlives it.
#pragma once

#include <cstdint>
#include <string>

#include "text/tokenizer.h"

namespace m2 {

class Detokenizer {
 public:
  Detokenizer(const Tokenizer& tokenizer, bool skip_special)
      : tokenizer_(tokenizer), skip_special_(skip_special) {}

  // The text that this token completes; may be empty. Bytes that can never become UTF-8 come out as
  // U+FFFD, one a maximal invalid sequence.
  std::string push(int32_t id);
  // What is still held back, as U+FFFD; call at the end.
  std::string flush();

 private:
  const Tokenizer& tokenizer_;
  const bool skip_special_;
  std::string held_;  // at most 3 bytes: the start of a character
};

}  // namespace m2
