// HTTP/1.1 over TCP, TLS or a Unix socket: listens, reads requests within limits, sends replies.
// Knows nothing of what the requests mean; that is an HttpHandler's.
//
// Thread-safety: create, start and stop from one thread; handlers are called on io threads.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "server/http/exchange.h"
#include "server/http/message.h"
#include "server/limits.h"

namespace m2 {

// What the routes are to HTTP. Called on io threads: must not block.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;

  // With the head read and the body not: a reply refuses the request here and now.
  virtual std::optional<HttpReply> check_head(const HttpRequest& head) = 0;

  // Answers through `exchange`, now or later, from any thread.
  virtual void handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) = 0;

  // Fields for every reply to that request.
  virtual HttpFields common_fields(const HttpRequest& head) = 0;

  // The body of what HTTP itself refuses: too large, malformed, too slow.
  virtual HttpReply refusal(int status, std::string message) = 0;
};

struct HttpOptions {
  std::string host;  // empty: all interfaces
  uint16_t port = 0;
  std::string uds;
  std::string ssl_certfile, ssl_keyfile, ssl_ciphers, ssl_ca_certs;
  int32_t ssl_cert_reqs = 0;  // as in server/tls.h
  int32_t io_threads = 1;
  std::chrono::milliseconds ping_interval{15'000};
  ServerLimits limits;
};

class HttpServer {
 public:
  // `handler` outlives the server.
  static Result<std::unique_ptr<HttpServer>> create(HttpOptions options, HttpHandler& handler);
  ~HttpServer();  // stop()

  Status start();
  uint16_t port() const;
  std::string address() const;

  // Accepts nothing more and closes idle connections; replies under way have `grace` to go out.
  // No exchange may be written to afterwards.
  void stop(std::chrono::milliseconds grace);

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace m2
