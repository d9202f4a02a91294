#include "server/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

namespace m2 {
namespace {

std::string last_error() {
  char text[256] = "unknown";
  if (const unsigned long code = ERR_get_error()) ERR_error_string_n(code, text, sizeof(text));
  ERR_clear_error();
  return text;
}

}  // namespace

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

Result<std::unique_ptr<TlsContext>> TlsContext::load(const std::string& certificate_file,
                                                     const std::string& key_file) {
  std::unique_ptr<TlsContext> tls(new TlsContext(SSL_CTX_new(TLS_server_method())));
  SSL_CTX* context = tls->context_;
  if (!context) return fail(ErrorKind::kInternal, "", "TLS: {}", last_error());
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(
      context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  // As Asio needs it: a write may be repeated from another buffer, and go out in parts.
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  if (SSL_CTX_use_certificate_chain_file(context, certificate_file.c_str()) != 1) {
    return invalid("ssl-certfile", "--ssl-certfile {}: {}", certificate_file, last_error());
  }
  if (SSL_CTX_use_PrivateKey_file(context, key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    return invalid("ssl-keyfile", "--ssl-keyfile {}: {}", key_file, last_error());
  }
  if (SSL_CTX_check_private_key(context) != 1) {
    return invalid("ssl-keyfile", "the key in {} is not that of the certificate in {}", key_file,
                   certificate_file);
  }
  return tls;
}

}  // namespace m2
