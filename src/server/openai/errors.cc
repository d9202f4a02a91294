#include "server/openai/errors.h"

#include <fmt/format.h>

#include "json/json.h"

namespace m2 {
namespace {

constexpr const char* kRetryAfterSeconds = "1";

const char* type_name(int status) {
  switch (status) {
    case 400:
      return "BadRequestError";
    case 401:
      return "AuthenticationError";
    case 403:
      return "PermissionDeniedError";
    case 404:
      return "NotFoundError";
    case 405:
      return "MethodNotAllowedError";
    case 501:
      return "NotImplementedError";
    case 503:
      return "ServiceUnavailableError";
    default:
      return status < 500 ? "BadRequestError" : "InternalServerError";
  }
}

}  // namespace

int http_status(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidArgument:
      return 400;
    case ErrorKind::kNotFound:
      return 404;
    case ErrorKind::kTooLarge:
      return 413;
    case ErrorKind::kUnsupported:
      return 501;
    case ErrorKind::kUnavailable:
      return 503;
    case ErrorKind::kInternal:
      return 500;
  }
  return 500;
}

std::string openai_error_json(int status, const std::string& message, const std::string& param) {
  std::string out = "{\"error\":{\"message\":";
  json::append_quoted(out, message);
  out += ",\"type\":";
  json::append_quoted(out, type_name(status));
  out += ",\"param\":";
  if (param.empty()) {
    out += "null";
  } else {
    json::append_quoted(out, param);
  }
  out += fmt::format(",\"code\":{}}}}}", status);
  return out;
}

std::string openai_error_json(const Error& error) {
  return openai_error_json(http_status(error.kind), error.message, error.field);
}

HttpReply openai_error(int status, const std::string& message, const std::string& param) {
  const bool again = status == 503;
  const std::string said =
      again ? fmt::format("{}; try again in {} s", message, kRetryAfterSeconds) : message;
  HttpReply reply{status, "application/json", openai_error_json(status, said, param), {}};
  if (again) reply.fields.emplace_back("Retry-After", kRetryAfterSeconds);
  if (status == 401) reply.fields.emplace_back("WWW-Authenticate", "Bearer");
  return reply;
}

HttpReply openai_error(const Error& error) {
  return openai_error(http_status(error.kind), error.message, error.field);
}

}  // namespace m2
