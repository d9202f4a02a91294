// Printing streamed replies to a terminal or a pipe.
#pragma once

#include <chrono>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

#include "json/json.h"

namespace m2::cli {

// Writes a reply's pieces to stdout at once. Reasoning is dimmed on a terminal (not under NO_COLOR)
// and goes to stderr otherwise, so that a pipe receives the answer alone.
class ReplyPrinter {
 public:
  ReplyPrinter();
  void reasoning(std::string_view text);
  void content(std::string_view text);
  void end();  // of the reply: a line break if it lacks one

 private:
  bool terminal_ = false, dim_ = false;
  bool in_reasoning_ = false;
  char last_ = '\n';
};

// Counts a reply's tokens and time for --stats, from the usage that the server sends.
class ReplyStats {
 public:
  void event(const json::Value& event);
  std::string line() const;

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
  std::optional<Clock::time_point> first_;
  int64_t prompt_tokens_ = 0, completion_tokens_ = 0;
};

// A line of stdin, prompting for it on a terminal; nullopt at its end.
std::optional<std::string> read_line(const char* prompt);

}  // namespace m2::cli
