// One client's connection: reads a request, has it answered, sends the reply, and again. A read
// stays open all the time, so that a client that leaves is noticed at once.
//
// Thread-safety: made and used on the thread of its io loop.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_set>

#include "server/http.h"

namespace boost::asio {
class io_context;
}

namespace m2 {

class HttpConnection;
class HttpSocket;

// What the connections of one server share.
struct HttpShared {
  const HttpOptions& options;
  HttpHandler& handler;
  std::atomic<int32_t> connections{0};
  std::atomic<int64_t> body_bytes{0};
};

// One io thread's loop and its connections.
struct HttpLoop {
  HttpShared& shared;
  boost::asio::io_context& context;
  std::unordered_set<HttpConnection*> connections;
  bool stopping = false;

  void close_idle();  // and let the others end after the reply under way
  void close_all();
};

// Serves the socket until it is closed.
void serve_connection(HttpLoop& loop, std::shared_ptr<HttpSocket> socket);

}  // namespace m2
