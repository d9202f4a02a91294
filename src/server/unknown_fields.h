// Notes in the log which fields of requests nobody here knows: each name once, so that a misspelled
// parameter can be found. New clients send new fields all the time: they are no error.
//
// Thread-safety: note() from any thread.
#pragma once

#include <mutex>
#include <set>
#include <string>

#include "json/json.h"

namespace m2 {

class UnknownFields {
 public:
  void note(const json::Object& request);

 private:
  std::mutex mutex_;
  std::set<std::string> noted_;  // at most kMostNames
};

}  // namespace m2
