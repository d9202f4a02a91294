// Everything that is wrong with a checkpoint's tensors, in one message of bounded length: whoever
// has a bad download should not find its faults one start at a time.
//
// Thread-safety: none; one thread collects.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/error.h"

namespace m2 {

class TensorReport {
 public:
  // A weight file that is not there, or whose header is wrong.
  void broken(Error error) {
    broken_.add(error.message);
    if (broken_.count == 1) first_ = std::move(error);
  }
  void missing(std::string line) { missing_.add(std::move(line)); }
  void extra(std::string line) { extra_.add(std::move(line)); }
  void wrong(std::string line) { wrong_.add(std::move(line)); }

  // An error that lists all of it, or success when nothing was found. A file's fault that is the
  // only one is told as it is.
  Status status(const std::string& folder) const;

 private:
  // Counts all, keeps the first few.
  struct Lines {
    void add(std::string line) {
      if (count++ < kShown) shown.push_back(std::move(line));
    }
    void append_to(std::string& out, const char* title) const;

    static constexpr size_t kShown = 20;
    size_t count = 0;
    std::vector<std::string> shown;
  };

  Lines broken_, missing_, extra_, wrong_;
  Error first_;
};

}  // namespace m2
