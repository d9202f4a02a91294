// Cross-origin rules: which web pages' scripts may read replies.
//
// Thread-safety: const after construction. `options` outlives it.
#pragma once

#include "server/http/message.h"
#include "server/server.h"

namespace m2 {

class Cors {
 public:
  explicit Cors(const ServerOptions& options) : options_(options) {}

  void add_fields(const HttpRequest& head, HttpFields& out) const;  // for every reply
  HttpReply preflight(const HttpRequest& head) const;               // to OPTIONS

 private:
  bool allows(std::string_view origin) const;

  const ServerOptions& options_;
};

}  // namespace m2
