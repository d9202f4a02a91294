#include "server/http/message.h"

#include <fmt/format.h>

#include <algorithm>

namespace m2 {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// A field's value never ends its line, whatever it was made from.
void append_field(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  out += ": ";
  for (const char c : value) out += (c == '\r' || c == '\n' || c == '\0') ? ' ' : c;
  out += "\r\n";
}

}  // namespace

BodyShare::BodyShare(BodyShare&& other) noexcept { *this = std::move(other); }

BodyShare& BodyShare::operator=(BodyShare&& other) noexcept {
  if (this == &other) return *this;
  release();
  used_ = std::exchange(other.used_, nullptr);
  limit_ = other.limit_;
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

bool BodyShare::grow_to(int64_t bytes) {
  if (!used_ || bytes <= bytes_) return true;
  const int64_t more = bytes - bytes_;
  if (used_->fetch_add(more) + more > limit_) {
    used_->fetch_sub(more);
    return false;
  }
  bytes_ = bytes;
  return true;
}

void BodyShare::release() {
  if (used_) used_->fetch_sub(bytes_);
  bytes_ = 0;
}

bool same_text(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view HttpRequest::field(std::string_view name) const {
  for (const auto& [key, value] : fields) {
    if (same_text(key, name)) return value;
  }
  return {};
}

std::string_view http_reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Payload Too Large";
    case 417:
      return "Expectation Failed";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return status < 500 ? "Error" : "Internal Server Error";
  }
}

bool percent_decode(std::string_view text, std::string& out) {
  out.clear();
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (i + 2 >= text.size()) return false;
      const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return false;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
    out += c;
  }
  return true;
}

std::string render_head(const HttpReply& reply, const HttpFields& more,
                        const HttpHeadOptions& options) {
  std::string out = fmt::format("HTTP/1.1 {} {}\r\n", reply.status, http_reason(reply.status));
  if (!reply.content_type.empty()) append_field(out, "Content-Type", reply.content_type);
  for (const auto& [name, value] : reply.fields) append_field(out, name, value);
  for (const auto& [name, value] : more) append_field(out, name, value);
  if (options.chunked) {
    append_field(out, "Transfer-Encoding", "chunked");
  } else if (!options.close_ends && reply.status != 204) {
    append_field(out, "Content-Length", std::to_string(options.body_bytes));
  }
  append_field(out, "Connection", options.keep_alive ? "keep-alive" : "close");
  out += "\r\n";
  return out;
}

}  // namespace m2
