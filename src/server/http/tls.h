// Certificate and key of the server, loaded and checked once.
//
// Thread-safety: const after load().
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"

struct ssl_ctx_st;

namespace m2 {

// Files are PEM.
struct TlsOptions {
  std::string certificate_file, key_file;  // the server's; the certificate file holds the chain
  std::string ciphers{};                   // for TLS 1.2, in OpenSSL's notation; empty: its own
  std::string ca_file{};                   // who signs clients' certificates; empty: not checked
  int32_t client_certificates = 0;         // 0: none, 1: checked if sent, 2: required
};

class TlsContext {
 public:
  // Errors name the file and what is wrong.
  static Result<std::unique_ptr<TlsContext>> load(const TlsOptions& options);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  ssl_ctx_st* native() const { return context_; }  // not given away: count a reference to keep it

 private:
  explicit TlsContext(ssl_ctx_st* context) : context_(context) {}
  ssl_ctx_st* context_;
};

}  // namespace m2
