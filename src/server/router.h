// Which path is served by whom, and who may ask: authentication is by the matched route, and what
// is not marked open asks for a key. What is open needs no model either.
//
// Thread-safety: as HttpHandler, from any io thread.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "server/auth.h"
#include "server/http/cors.h"
#include "server/http/http_server.h"
#include "server/openai/api.h"
#include "server/server.h"
#include "server/server_metrics.h"
#include "server/service.h"

namespace m2 {

class Router : public HttpHandler {
 public:
  // All outlive the router.
  Router(const ServerOptions& options, ServerMetrics& metrics);

  // The other side of the model's routes; without it, and until the service serves, they answer 503
  // with how far the start is. Once, from any thread.
  void open(Service& service, OpenAiApi& openai);

  std::optional<HttpReply> check_head(const HttpRequest& head) override;
  void handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) override;
  HttpFields common_fields(const HttpRequest& head) override;
  HttpReply refusal(int status, std::string message) override;

 private:
  struct Route;
  static const Route kRoutes[];

  // The path without --root-path; empty when it is malformed.
  std::string clean_path(const HttpRequest& head) const;
  const Route* find_route(const std::string& path) const;
  bool starting() const { return !opened_ || !service_->serving(); }
  HttpReply health() const;

  const ServerOptions& options_;
  ServerMetrics& metrics_;
  Service* service_ = nullptr;  // these two are read once opened_ is set
  OpenAiApi* openai_ = nullptr;
  std::atomic<bool> opened_{false};
  const Auth auth_;
  const Cors cors_;
};

}  // namespace m2
