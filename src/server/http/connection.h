// One client's connection: reads a request, has it answered, sends the reply, and again. A read
// stays open all the time, so that a client that leaves is noticed at once.
//
// Thread-safety: made and used on the thread of its io loop.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "server/http/http_server.h"

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

// One of the server's most connections, from its accepting to its end.
class ConnectionPlace {
 public:
  // Empty when all are taken.
  static ConnectionPlace take(HttpShared& shared) {
    ConnectionPlace place;
    if (++shared.connections > shared.options.limits.max_connections) {
      --shared.connections;
    } else {
      place.shared_ = &shared;
    }
    return place;
  }
  ConnectionPlace(ConnectionPlace&& other) noexcept
      : shared_(std::exchange(other.shared_, nullptr)) {}
  ~ConnectionPlace() {
    if (shared_) --shared_->connections;
  }
  explicit operator bool() const { return shared_ != nullptr; }

 private:
  ConnectionPlace() = default;
  HttpShared* shared_ = nullptr;
};

// One io thread's loop and its connections.
struct HttpLoop {
  HttpLoop(HttpShared& the_shared, boost::asio::io_context& the_context)
      : shared(the_shared), context(the_context) {}

  HttpShared& shared;
  boost::asio::io_context& context;
  std::unordered_set<HttpConnection*> connections;
  bool stopping = false;

  void close_idle();  // and let the others end after the reply under way
  void close_all();

  // From any thread: there is something for the connection. One hand-over to the loop serves all
  // that came meanwhile, such as a step's tokens of many streams.
  void wake_later(std::weak_ptr<HttpConnection> connection);

 private:
  void wake_all();

  std::mutex mutex_;
  std::vector<std::weak_ptr<HttpConnection>> woken_;   // under mutex_
  std::vector<std::weak_ptr<HttpConnection>> waking_;  // the loop's own
};

// Serves the socket until it is closed.
void serve_connection(HttpLoop& loop, std::shared_ptr<HttpSocket> socket, ConnectionPlace place);

}  // namespace m2
