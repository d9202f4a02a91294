// Notes in the log which fields of requests a route does not read: each name once, so that a
// misspelled parameter can be found. New clients send new fields all the time: they are no error.
//
// Thread-safety: note() from any thread.
#pragma once

#include <mutex>
#include <set>
#include <string>

#include "json/json.h"

namespace m2 {

// The routes, by what their requests may say.
enum RequestKind : unsigned { kChat = 1, kCompletions = 2, kTokenize = 4, kDetokenize = 8 };

// Whether a request of that kind is read for the field, also where it is then refused.
bool is_known_field(RequestKind kind, std::string_view name);

class UnknownFields {
 public:
  void note(RequestKind kind, const json::Object& request);

 private:
  std::mutex mutex_;
  std::set<std::string> noted_;  // at most kMostNames
};

}  // namespace m2
