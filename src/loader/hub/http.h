// HTTP as the hub needs it, over libcurl: one blocking request at a time, redirects one by one.
//
// The token goes to the endpoint's own scheme, host and port alone: a redirect to anywhere else is
// followed without it. A redirect from https to http is refused.
//
// Errors of kind kUnavailable are the network's (refused, stalled, cut short): trying again may
// help. A status from 400 up is no error here: the caller knows what it means.
//
// Thread-safety: one thread at a time; a client keeps its connections.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace m2 {

struct FetchOptions {
  std::string endpoint;  // https://host[:port][/path]
  std::string token;     // empty: none
  int32_t connect_timeout_s = 10;
  int32_t stall_timeout_s = 10;  // without a kilobyte a second
  int32_t most_tries = 8;        // in a row without a byte, before the download is given up
  std::string http_proxy;        // for http:// URLs; libcurl reads HTTPS_PROXY and NO_PROXY
  std::string ca_bundle;         // file of certificates; empty: the system's
  const std::atomic<bool>* cancelled = nullptr;
};

struct FetchReply {
  long status = 0;
  std::string url;                             // that answered
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // of get(), or the start of an error's

  const std::string* header(const std::string& name) const;
  std::optional<int64_t> number(const std::string& name) const;  // a header that is a number from 0
};

class FetchClient {
 public:
  explicit FetchClient(FetchOptions options);
  ~FetchClient();

  // Follows redirects within the endpoint; another one is the answer, its "location" made absolute.
  Result<FetchReply> head(const std::string& url);
  // Follows redirects anywhere. More than `max_bytes` is an error.
  Result<FetchReply> get(const std::string& url, size_t max_bytes);

  // Bytes [begin, end) of a file; end 0: all of it, and no range is asked for. `on_head` sees the
  // final answer before its bytes, and an error of its or of `on_bytes` ends the request. Statuses
  // but 200 and 206 have no bytes, only a short body. The reply tells the URL after redirects.
  using OnHead = std::function<Status(const FetchReply&)>;
  using OnBytes = std::function<Status(std::span<const std::byte>)>;
  Result<FetchReply> stream(const std::string& url, int64_t begin, int64_t end,
                            const OnHead& on_head, const OnBytes& on_bytes);

  // After an answer that was not what it said: what is left on its connection is nobody's.
  void drop_connections();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// Whether both URLs have one scheme, host and port.
bool same_origin(const std::string& a, const std::string& b);

}  // namespace m2
