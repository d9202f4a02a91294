// One HTTP request as the routes see it, and one reply. No sockets here.
//
// Thread-safety: plain values.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace m2 {

using HttpFields = std::vector<std::pair<std::string, std::string>>;

// A share of the bytes that all request bodies together may hold; given back on destruction.
class BodyShare {
 public:
  BodyShare() = default;
  BodyShare(std::atomic<int64_t>& used, int64_t limit) : used_(&used), limit_(limit) {}
  BodyShare(BodyShare&& other) noexcept;
  BodyShare& operator=(BodyShare&& other) noexcept;
  ~BodyShare() { release(); }

  bool grow_to(int64_t bytes);  // false when the limit of all is reached
  void release();

 private:
  std::atomic<int64_t>* used_ = nullptr;
  int64_t limit_ = 0, bytes_ = 0;
};

struct HttpRequest {
  std::string method;
  std::string path;   // still percent-encoded, without the query; begins with '/'
  std::string query;  // after '?'
  HttpFields fields;
  std::string body;
  std::string peer;     // "127.0.0.1:4242", for the log
  uint64_t client = 0;  // whose it is, once its key has been looked at
  BodyShare share;      // for the body; it goes where the body goes

  // The first field of that name, in any case; "" when absent.
  std::string_view field(std::string_view name) const;
};

struct HttpReply {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  HttpFields fields;
};

std::string_view http_reason(int status);

// True for equal ASCII text in any case.
bool same_text(std::string_view a, std::string_view b);

// "%2F" to "/"; false when malformed or when a control character comes out.
bool percent_decode(std::string_view text, std::string& out);

// The status line and fields, up to and with the empty line.
struct HttpHeadOptions {
  bool chunked = false;     // else Content-Length says body_bytes, unless close-delimited
  bool close_ends = false;  // HTTP/1.0 stream: the body ends with the connection
  bool keep_alive = true;
  size_t body_bytes = 0;
};
std::string render_head(const HttpReply& reply, const HttpFields& more,
                        const HttpHeadOptions& options);

}  // namespace m2
