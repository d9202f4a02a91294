// Finds stop strings in text as it comes, token by token. What may yet become one is held back, so
// that no part of a stop string is ever shown. One automaton a stop string (Knuth, Morris, Pratt):
// a step per byte, whatever the text.
//
// Thread-safety: one owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace m2 {

class StopMatcher {
 public:
  struct Piece {
    int32_t token = -1;
    std::string text;
  };

  // Empty strings are not allowed. `include`: a found stop string is let out too.
  StopMatcher(const std::vector<std::string>& stops, bool include);

  // Takes a token and its text; appends to `out` what is certain to be no part of a stop string.
  // Returns the index of a stop string that is now complete, else -1; after one, call nothing more.
  // With `look` false the text is let out without looking at it.
  int push(int32_t token, std::string text, bool look, std::vector<Piece>& out);

  void flush(std::vector<Piece>& out);  // the end: nothing more can complete one

 private:
  struct Automaton {
    std::string text;
    std::vector<uint32_t> fallback;  // [text.size()]: longest border of the first i + 1 bytes
    uint32_t matched = 0;
    void advance(char c);
  };

  void release(size_t keep_bytes, std::vector<Piece>& out);
  void cut(size_t end, std::vector<Piece>& out);  // the first `end` held bytes out, the rest away

  std::vector<Automaton> automata_;
  const bool include_;
  std::deque<Piece> held_;
  size_t held_bytes_ = 0;
};

}  // namespace m2
