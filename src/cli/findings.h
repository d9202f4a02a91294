// What `m2 check` found: a line each on the standard output, as it is found; faults are counted.
//
// Thread-safety: one thread at a time.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string_view>

namespace m2::cli {

class Findings {
 public:
  void right(std::string_view what, std::string_view text) { print(" ok ", what, text); }
  void note(std::string_view what, std::string_view text) { print("note", what, text); }
  void wrong(std::string_view what, std::string_view text) {
    print("BAD ", what, text);
    ++faults_;
  }
  int faults() const { return faults_; }

 private:
  static void print(std::string_view mark, std::string_view what, std::string_view text) {
    fmt::print("{} {:10} {}\n", mark, what, text);
    std::fflush(stdout);  // where it is a pipe, too: the next one may take minutes
  }
  int faults_ = 0;
};

}  // namespace m2::cli
