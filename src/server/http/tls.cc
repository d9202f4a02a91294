#include "server/http/tls.h"

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

Status restrict_tls(const TlsOptions& options, SSL_CTX* context) {
  if (!options.ciphers.empty() && SSL_CTX_set_cipher_list(context, options.ciphers.c_str()) != 1) {
    return invalid("ssl-ciphers", "--ssl-ciphers {}: {}", options.ciphers, last_error());
  }
  if (options.ca_file.empty()) return {};
  if (SSL_CTX_load_verify_locations(context, options.ca_file.c_str(), nullptr) != 1) {
    return invalid("ssl-ca-certs", "--ssl-ca-certs {}: {}", options.ca_file, last_error());
  }
  if (options.client_certificates == 0) return {};
  int mode = SSL_VERIFY_PEER;
  if (options.client_certificates > 1) mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  SSL_CTX_set_verify(context, mode, nullptr);
  // Sessions that are resumed under client certificates need a name of their own.
  constexpr unsigned char kName[] = "m2";
  SSL_CTX_set_session_id_context(context, kName, sizeof(kName) - 1);
  return {};
}

}  // namespace

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

Result<std::unique_ptr<TlsContext>> TlsContext::load(const TlsOptions& options) {
  std::unique_ptr<TlsContext> tls(new TlsContext(SSL_CTX_new(TLS_server_method())));
  SSL_CTX* context = tls->context_;
  if (!context) return fail(ErrorKind::kInternal, "", "TLS: {}", last_error());
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(
      context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  // As Asio needs it: a write may be repeated from another buffer, and go out in parts.
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  if (SSL_CTX_use_certificate_chain_file(context, options.certificate_file.c_str()) != 1) {
    return invalid("ssl-certfile", "--ssl-certfile {}: {}", options.certificate_file, last_error());
  }
  if (SSL_CTX_use_PrivateKey_file(context, options.key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    return invalid("ssl-keyfile", "--ssl-keyfile {}: {}", options.key_file, last_error());
  }
  if (SSL_CTX_check_private_key(context) != 1) {
    return invalid("ssl-keyfile", "the key in {} is not that of the certificate in {}",
                   options.key_file, options.certificate_file);
  }
  M2_TRY(restrict_tls(options, context));
  return tls;
}

}  // namespace m2
