#include "server/http/request_reader.h"

#include <fmt/format.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

namespace m2 {

namespace http = boost::beast::http;

struct HttpRequestReader::Impl {
  http::request_parser<http::string_body> parser;
};

HttpRequestReader::HttpRequestReader(const ServerLimits& limits)
    : impl_(std::make_unique<Impl>()), limits_(limits) {
  impl_->parser.header_limit(static_cast<uint32_t>(limits.header_bytes));
  impl_->parser.body_limit(limits.body_bytes);
  impl_->parser.eager(false);  // stop after the head, which is looked at before the body is read
}

HttpRequestReader::~HttpRequestReader() = default;

bool HttpRequestReader::done() const { return head_done_ && impl_->parser.is_done(); }
size_t HttpRequestReader::body_bytes() const { return impl_->parser.get().body().size(); }
HttpRequest HttpRequestReader::take_head() { return std::move(head_); }
std::string HttpRequestReader::take_body() { return std::move(impl_->parser.get().body()); }

size_t HttpRequestReader::put(std::string_view data) {
  boost::system::error_code error;
  const size_t used = impl_->parser.put(boost::asio::buffer(data.data(), data.size()), error);
  if (!error || error == http::error::need_more) return used;
  if (error == http::error::header_limit) {
    fail_head_size();
  } else if (error == http::error::body_limit) {
    fail(413, fmt::format("the request's body is larger than the limit of {} bytes",
                          limits_.body_bytes));
  } else if (error == http::error::bad_version) {
    fail(505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
  } else {
    fail(400, "malformed HTTP request: " + error.message());
  }
  return used;
}

void HttpRequestReader::fail_head_size() {
  fail(431, fmt::format("the request's head is larger than the limit of {} bytes",
                        limits_.header_bytes));
}

size_t HttpRequestReader::read_head(std::string_view data) {
  const size_t used = put(data);
  head_bytes_ += used;
  if (fault_ || !impl_->parser.is_header_done()) return used;
  head_done_ = true;
  // Beast counts the first line apart from the fields when both come in one piece.
  if (head_bytes_ > limits_.header_bytes) {
    fail_head_size();
    return used;
  }
  impl_->parser.eager(true);
  check_head();
  return used;
}

size_t HttpRequestReader::read_body(std::string_view data) { return put(data); }

void HttpRequestReader::check_head() {
  const auto& message = impl_->parser.get();
  head_.method = std::string(message.method_string());
  keep_alive_ = impl_->parser.keep_alive();
  http_1_0_ = message.version() == 10;
  is_head_ = head_.method == "HEAD";
  for (const auto& field : message) {
    head_.fields.emplace_back(field.name_string(), field.value());
  }
  if (message.version() != 10 && message.version() != 11) {
    return fail(505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
  }

  std::string target(message.target());
  if (target.starts_with("http://") || target.starts_with("https://")) {  // as proxies write it
    const size_t path = target.find('/', target.find("://") + 3);
    target = path == std::string::npos ? "/" : target.substr(path);
  }
  const size_t mark = target.find('?');
  head_.path = target.substr(0, mark);
  if (mark != std::string::npos) head_.query = target.substr(mark + 1);
  if (!head_.path.starts_with('/') && !(head_.path == "*" && head_.method == "OPTIONS")) {
    return fail(400, "the request's target must be a path");
  }
  check_fields();
}

// Two readings of one request by two programs in a row are how requests are smuggled: whatever is
// doubtful is refused. Beast has refused Content-Length beside Transfer-Encoding already.
void HttpRequestReader::check_fields() {
  int hosts = 0;
  for (const auto& [name, value] : head_.fields) {
    if (same_text(name, "host")) ++hosts;
    if (same_text(name, "transfer-encoding") && (http_1_0_ || !same_text(value, "chunked"))) {
      return fail(400, "Transfer-Encoding must be 'chunked', in HTTP/1.1");
    }
    if (same_text(name, "content-encoding") && !same_text(value, "identity")) {
      return fail(400, fmt::format("Content-Encoding '{}' is not read here", value.substr(0, 64)));
    }
    if (same_text(name, "expect")) {
      if (!same_text(value, "100-continue")) return fail(417, "only Expect: 100-continue is known");
      expects_continue_ = !http_1_0_;
    }
  }
  if (hosts > 1 || (hosts == 0 && !http_1_0_)) fail(400, "a request names its Host exactly once");
}

}  // namespace m2
