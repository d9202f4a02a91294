#include "server/router.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "server/openai/errors.h"

namespace m2 {
namespace {

constexpr std::string_view kModelPrefix = "/v1/models/";
constexpr size_t kMostRequestIdBytes = 128;

using Exchange = std::shared_ptr<HttpExchange>;

HttpReply json_reply(std::string body) { return {200, "application/json", std::move(body), {}}; }

bool printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

// Whether `methods` ("GET, POST") holds the method as a whole.
bool lists(std::string_view methods, std::string_view method) {
  while (!methods.empty()) {
    const size_t end = std::min(methods.find(", "), methods.size());
    if (methods.substr(0, end) == method) return true;
    methods.remove_prefix(std::min(end + 2, methods.size()));
  }
  return false;
}

}  // namespace

struct Router::Route {
  std::string_view path;
  std::string_view methods;  // a comma between them
  bool open;                 // no key is asked for, and no model is needed
  void (*serve)(Router& router, const std::string& path, HttpRequest request, Exchange exchange);
};

const Router::Route Router::kRoutes[] = {
    {"/health", "GET", true,
     [](Router& router, const std::string&, HttpRequest, Exchange exchange) {
       exchange->reply(router.health());
     }},
    {"/ping", "GET, POST", true,
     [](Router& router, const std::string&, HttpRequest, Exchange exchange) {
       exchange->reply(router.health());
     }},
    {"/version", "GET", true,
     [](Router& router, const std::string&, HttpRequest, Exchange exchange) {
       std::string out = "{\"version\":";
       json::append_quoted(out, router.options_.version);
       exchange->reply(json_reply(out + "}"));
     }},
    {"/metrics", "GET", true,
     [](Router& router, const std::string&, HttpRequest, Exchange exchange) {
       exchange->reply(
           {200, "text/plain; version=0.0.4; charset=utf-8", router.metrics_.render(), {}});
     }},
    {"/load", "GET", false,
     [](Router& router, const std::string&, HttpRequest, Exchange exchange) {
       exchange->reply(
           json_reply(fmt::format("{{\"server_load\":{}}}", router.service_->open_requests())));
     }},
    {"/v1/models", "GET", false,
     [](Router& router, const std::string&, HttpRequest, Exchange exchange) {
       exchange->reply(router.openai_->models());
     }},
    {kModelPrefix, "GET", false,
     [](Router& router, const std::string& path, HttpRequest, Exchange exchange) {
       exchange->reply(router.openai_->model(path.substr(kModelPrefix.size())));
     }},
    {"/v1/chat/completions", "POST", false,
     [](Router& router, const std::string&, HttpRequest request, Exchange exchange) {
       router.openai_->chat(std::move(request), std::move(exchange));
     }},
    {"/v1/completions", "POST", false,
     [](Router& router, const std::string&, HttpRequest request, Exchange exchange) {
       router.openai_->completions(std::move(request), std::move(exchange));
     }},
    {"/tokenize", "POST", false,
     [](Router& router, const std::string&, HttpRequest request, Exchange exchange) {
       router.openai_->tokenize(std::move(request), std::move(exchange));
     }},
    {"/detokenize", "POST", false,
     [](Router& router, const std::string&, HttpRequest request, Exchange exchange) {
       router.openai_->detokenize(std::move(request), std::move(exchange));
     }},
};

Router::Router(const ServerOptions& options, ServerMetrics& metrics)
    : options_(options), metrics_(metrics), auth_(options.api_keys), cors_(options) {}

void Router::open(Service& service, OpenAiApi& openai) {
  service_ = &service;
  openai_ = &openai;
  opened_ = true;  // releases both to io threads
}

// Decoded once, before anything is decided by it: what is guarded is what is served.
std::string Router::clean_path(const HttpRequest& head) const {
  std::string path;
  if (!percent_decode(head.path, path)) return "";
  const std::string& root = options_.root_path;
  if (root.size() > 1 && path.starts_with(root) && path.size() > root.size()) {
    const size_t end = root.ends_with('/') ? root.size() - 1 : root.size();
    if (path[end] == '/') path.erase(0, end);
  }
  if (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

const Router::Route* Router::find_route(const std::string& path) const {
  for (const Route& route : kRoutes) {
    const bool prefix = route.path == kModelPrefix;
    if (prefix ? path.starts_with(route.path) && path.size() > route.path.size()
               : path == route.path) {
      return &route;
    }
  }
  return nullptr;
}

std::optional<HttpReply> Router::check_head(const HttpRequest& head) {
  const std::string path = clean_path(head);
  // A browser asks by OPTIONS before it sends a key.
  if (head.method == "OPTIONS" && !head.field("access-control-request-method").empty()) {
    return cors_.preflight(head);
  }
  const Route* route = find_route(path);
  if (!(route && route->open)) {
    const Auth::Answer answer = auth_.check(head);
    if (!answer.allowed) {
      return openai_error(401, answer.key_sent
                                   ? "the API key is not one that this server takes"
                                   : "an API key is needed: send it as Authorization: Bearer KEY");
    }
  }
  if (!route) return openai_error(404, fmt::format("there is no route {}", path.substr(0, 128)));
  const std::string_view method = head.method == "HEAD" ? "GET" : std::string_view(head.method);
  if (!lists(route->methods, method)) {
    HttpReply reply = openai_error(405, fmt::format("{} takes {}", route->path, route->methods));
    reply.fields.emplace_back("Allow", std::string(route->methods));
    return reply;
  }
  if (!route->open && starting()) {
    return openai_error(503, "the server is starting: " + options_.starting());
  }
  return std::nullopt;
}

void Router::handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
  const std::string path = clean_path(request);
  const Route* route = find_route(path);
  if (!route) {  // check_head() has refused it
    exchange->reply(openai_error(404, "there is no such route"));
    return;
  }
  if (!route->open) request.client = auth_.check(request).client;
  route->serve(*this, path, std::move(request), std::move(exchange));
}

HttpReply Router::health() const {
  Status ready;
  if (starting()) {
    ready = fail(ErrorKind::kUnavailable, "", "{}", options_.starting());
  } else {
    ready = service_->ready();
  }
  if (ready) return {200, "", "", {}};
  std::string out = "{\"status\":";
  json::append_quoted(out, ready.error().message);
  return {503, "application/json", out + "}", {}};
}

HttpFields Router::common_fields(const HttpRequest& head) {
  HttpFields fields;
  cors_.add_fields(head, fields);
  const std::string_view id = head.field("x-request-id");
  if (!id.empty() && id.size() <= kMostRequestIdBytes && printable(id)) {
    fields.emplace_back("X-Request-Id", std::string(id));
  } else if (options_.request_id_headers) {
    fields.emplace_back("X-Request-Id", random_hex(32));
  }
  return fields;
}

HttpReply Router::refusal(int status, std::string message) { return openai_error(status, message); }

}  // namespace m2
