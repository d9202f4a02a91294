// Certificate and key of the server, loaded and checked once.
//
// Thread-safety: const after load().
#pragma once

#include <memory>
#include <string>

#include "base/error.h"

struct ssl_ctx_st;

namespace m2 {

class TlsContext {
 public:
  // PEM files; the certificate file holds the chain. Errors name the file and what is wrong.
  static Result<std::unique_ptr<TlsContext>> load(const std::string& certificate_file,
                                                  const std::string& key_file);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  ssl_ctx_st* native() const { return context_; }  // not given away: count a reference to keep it

 private:
  explicit TlsContext(ssl_ctx_st* context) : context_(context) {}
  ssl_ctx_st* context_;
};

}  // namespace m2
