#include "server/http/cors.h"

#include <fmt/format.h>

#include <algorithm>

namespace m2 {
namespace {

bool contains(const std::vector<std::string>& list, std::string_view text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

}  // namespace

bool Cors::allows(std::string_view origin) const {
  return contains(options_.allowed_origins, "*") || contains(options_.allowed_origins, origin);
}

void Cors::add_fields(const HttpRequest& head, HttpFields& out) const {
  const std::string_view origin = head.field("origin");
  if (origin.empty() || !allows(origin)) return;
  // "*" may not stand beside credentials: then the origin itself is named.
  const bool any = contains(options_.allowed_origins, "*") && !options_.allow_credentials;
  out.emplace_back("Access-Control-Allow-Origin", any ? "*" : std::string(origin));
  if (!any) out.emplace_back("Vary", "Origin");
  if (options_.allow_credentials) out.emplace_back("Access-Control-Allow-Credentials", "true");
  if (options_.request_id_headers) {
    out.emplace_back("Access-Control-Expose-Headers", "X-Request-Id");
  }
}

HttpReply Cors::preflight(const HttpRequest& head) const {
  HttpReply reply{204, "", "", {}};
  const std::string_view wanted = head.field("access-control-request-headers");
  if (!allows(head.field("origin"))) return {403, "text/plain", "this origin is not allowed", {}};
  reply.fields.emplace_back("Access-Control-Allow-Methods",
                            contains(options_.allowed_methods, "*")
                                ? "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
                                : fmt::format("{}", fmt::join(options_.allowed_methods, ", ")));
  reply.fields.emplace_back("Access-Control-Allow-Headers",
                            contains(options_.allowed_headers, "*")
                                ? std::string(wanted.empty() ? "*" : wanted)
                                : fmt::format("{}", fmt::join(options_.allowed_headers, ", ")));
  reply.fields.emplace_back("Access-Control-Max-Age", "600");
  return reply;
}

}  // namespace m2
