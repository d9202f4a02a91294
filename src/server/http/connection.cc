#include "server/http/connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/log.h"
#include "server/http/request_reader.h"
#include "server/http/socket.h"
#include "server/http/sse.h"

namespace m2 {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(HttpLoop& loop, std::shared_ptr<HttpSocket> socket, ConnectionPlace place)
      : place_(std::move(place)),
        loop_(loop),
        limits_(loop.shared.options.limits),
        socket_(std::move(socket)),
        wake_(loop.context) {
    loop_.connections.insert(this);
  }
  ~HttpConnection() { loop_.connections.erase(this); }

  asio::awaitable<void> run();
  void close() {
    ended_ = true;
    socket_->close();
    wake_.cancel();
  }
  bool idle() const { return idle_; }
  void wake() { wake_.cancel(); }

  // Of a client that does not read: nothing more is kept for it, in the kernel neither.
  void drop() {
    ended_ = true;
    socket_->reset();
  }

 private:
  enum class Next { kAgain, kClose };

  // Reading and writing go on beside the coroutine; wait_until() lets it sleep until one of them,
  // the exchange or the time calls. False when it was the time.
  void start_read();
  asio::awaitable<bool> wait_until(Clock::time_point time);
  asio::awaitable<bool> send(std::string bytes);

  asio::awaitable<Next> serve_one();
  asio::awaitable<bool> read_head(HttpRequestReader& reader);
  asio::awaitable<bool> read_body(HttpRequestReader& reader, BodyShare& share);
  asio::awaitable<Next> answer(HttpRequest request, const HttpFields& fields,
                               const HttpRequestReader& head);
  asio::awaitable<Next> forward(HttpExchange& exchange, const HttpFields& fields,
                                const HttpRequestReader& head);
  asio::awaitable<Next> refuse(const HttpRequestReader& reader, HttpReply reply, HttpFields fields);
  // With the reader's own fault.
  asio::awaitable<Next> refuse(const HttpRequestReader& reader, HttpFields fields = {}) {
    const auto& [status, message] = *reader.error();
    return refuse(reader, loop_.shared.handler.refusal(status, message), std::move(fields));
  }
  asio::awaitable<void> linger();

  const ConnectionPlace place_;
  HttpLoop& loop_;
  const ServerLimits& limits_;
  const std::shared_ptr<HttpSocket> socket_;
  asio::steady_timer wake_;
  std::string input_;  // received and not yet parsed; bounded by kReadAhead and the head's limit
  std::array<char, 16 << 10> chunk_;
  bool reading_ = false, writing_ = false, ended_ = false, idle_ = true;
  bool overrun_ = false;  // more came ahead than is kept: this reply is the last one
  size_t written_ = 0;
  const HttpExchange* exchange_ = nullptr;  // the one being sent
};

namespace {

constexpr size_t kReadAhead = 64 << 10;  // of a client that sends more than it was asked for
constexpr auto kLingerTime = std::chrono::seconds(2);

}  // namespace

void HttpConnection::start_read() {
  const bool answering = exchange_ != nullptr;
  if (reading_ || ended_ || (input_.size() >= kReadAhead && !answering)) return;
  reading_ = true;
  socket_->read_some(chunk_.data(), chunk_.size(), [self = shared_from_this()](size_t bytes) {
    self->reading_ = false;
    if (bytes == 0) self->ended_ = true;
    self->input_.append(self->chunk_.data(), bytes);
    // While a reply is under way reading never stops: a client that sends far ahead and leaves
    // would else not be seen leaving. What it sends too much is not kept.
    if (self->exchange_ && self->input_.size() > kReadAhead + self->chunk_.size()) {
      self->overrun_ = true;
      self->input_.clear();
    }
    self->wake_.cancel();
  });
}

asio::awaitable<bool> HttpConnection::wait_until(Clock::time_point time) {
  wake_.expires_at(time);
  const auto [error] = co_await wake_.async_wait(asio::as_tuple(asio::use_awaitable));
  co_return error == asio::error::operation_aborted;
}

asio::awaitable<bool> HttpConnection::send(std::string bytes) {
  // An event of a stream mostly goes out at once: no waiting, no wake-ups, a few microseconds
  // saved.
  size_t sent = socket_->try_write(bytes);
  if (sent == bytes.size()) co_return true;
  // The write's callback holds the text: it may outlast this coroutine's interest in it.
  const auto text = std::make_shared<std::string>(std::move(bytes));
  while (sent < text->size()) {
    writing_ = true;
    socket_->write_some(std::string_view(*text).substr(sent),
                        [self = shared_from_this(), text](size_t count) {
                          self->writing_ = false;
                          self->written_ = count;
                          if (count == 0) self->ended_ = true;
                          self->wake_.cancel();
                        });
    const auto deadline = Clock::now() + limits_.write_timeout;
    while (writing_ && !ended_) {
      start_read();
      const bool in_time = co_await wait_until(deadline);
      if ((!in_time && writing_) || (exchange_ && exchange_->dropped())) drop();
    }
    if (ended_) co_return false;
    sent += written_;
  }
  co_return true;
}

asio::awaitable<void> HttpConnection::run() {
  bool ready = false, done = false;
  socket_->handshake([self = shared_from_this(), &ready, &done](size_t ok) {
    if (self->ended_) return;  // the coroutine may be gone
    ready = ok > 0;
    done = true;
    self->wake_.cancel();
  });
  const auto deadline = Clock::now() + limits_.header_timeout;
  while (!done && !ended_) {
    if (!co_await wait_until(deadline)) break;
  }
  while (ready && !ended_ && co_await serve_one() == Next::kAgain) {
  }
  close();
}

asio::awaitable<HttpConnection::Next> HttpConnection::serve_one() {
  HttpRequestReader reader(limits_);
  if (!co_await read_head(reader)) co_return Next::kClose;
  idle_ = false;
  if (reader.error()) co_return co_await refuse(reader);

  HttpRequest request = reader.take_head();
  request.peer = socket_->peer();
  HttpFields fields = loop_.shared.handler.common_fields(request);
  if (auto reply = loop_.shared.handler.check_head(request)) {
    if (reader.done()) {  // nothing unread: the connection can go on
      auto exchange = std::make_shared<HttpExchange>(limits_.stream_backlog_bytes);
      exchange->reply(std::move(*reply));
      co_return co_await forward(*exchange, fields, reader);
    }
    co_return co_await refuse(reader, std::move(*reply), std::move(fields));
  }
  if (reader.expects_continue() && input_.empty() && !reader.done()) {
    if (!co_await send("HTTP/1.1 100 Continue\r\n\r\n")) co_return Next::kClose;
  }
  request.share = BodyShare(loop_.shared.body_bytes, limits_.open_body_bytes);
  if (!co_await read_body(reader, request.share)) co_return Next::kClose;
  if (reader.error()) co_return co_await refuse(reader, std::move(fields));
  request.body = reader.take_body();
  co_return co_await answer(std::move(request), fields, reader);
}

// Up to the end of the head, or an error of the reader's. False: the connection is to be closed.
asio::awaitable<bool> HttpConnection::read_head(HttpRequestReader& reader) {
  idle_ = true;
  bool begun = false;
  auto deadline = Clock::now() + limits_.keep_alive_timeout;
  for (;;) {
    if (!input_.empty()) {
      input_.erase(0, reader.read_head(input_));
      if (reader.head_done() || reader.error()) co_return true;
      if (!begun) deadline = Clock::now() + limits_.header_timeout;
      begun = true;
    }
    if (ended_ || (loop_.stopping && !begun)) co_return false;
    start_read();
    if (!co_await wait_until(deadline)) {
      if (begun) reader.fail(408, "the request's head did not arrive in time");
      co_return begun;
    }
  }
}

asio::awaitable<bool> HttpConnection::read_body(HttpRequestReader& reader, BodyShare& share) {
  // Progress buys time, but a trickle does not buy it for ever.
  const auto last = Clock::now() + limits_.whole_body_timeout;
  auto deadline = Clock::now() + limits_.body_timeout;
  while (!reader.done()) {
    if (!input_.empty()) {
      const size_t used = reader.read_body(input_);
      input_.erase(0, used);
      if (reader.done() || reader.error()) break;
      if (!share.grow_to(static_cast<int64_t>(reader.body_bytes()))) {
        reader.fail(503, fmt::format("the requests that are being read hold {} bytes together, "
                                     "which is the most that may",
                                     limits_.open_body_bytes));
        break;
      }
      if (used == 0 && input_.size() >= kReadAhead) {
        reader.fail(431, "the request's chunk or trailer fields are too large");
        break;
      }
      if (used > 0) deadline = std::min(last, Clock::now() + limits_.body_timeout);
      if (used > 0 && !input_.empty()) continue;
    }
    if (ended_) co_return false;
    start_read();
    if (!co_await wait_until(deadline)) {
      reader.fail(408, "the request's body did not arrive in time");
      break;
    }
  }
  co_return true;
}

asio::awaitable<HttpConnection::Next> HttpConnection::answer(HttpRequest request,
                                                             const HttpFields& fields,
                                                             const HttpRequestReader& head) {
  auto exchange = std::make_shared<HttpExchange>(limits_.stream_backlog_bytes);
  // Weak, as it is called on other threads: a connection goes on its loop's thread alone.
  exchange->on_ready([&loop = loop_, weak = weak_from_this()] { loop.wake_later(weak); });
  loop_.shared.handler.handle(std::move(request), exchange);
  exchange_ = exchange.get();
  const Next next = co_await forward(*exchange, fields, head);
  exchange_ = nullptr;
  exchange->leave();  // also lets go of this connection
  co_return next;
}

asio::awaitable<HttpConnection::Next> HttpConnection::forward(HttpExchange& exchange,
                                                              const HttpFields& fields,
                                                              const HttpRequestReader& head) {
  const auto ping_interval = loop_.shared.options.ping_interval;
  auto last_sent = Clock::now();
  bool keep_alive = head.keep_alive();
  for (;;) {
    if (exchange.dropped()) drop();
    if (ended_) co_return Next::kClose;
    const bool ping_due = Clock::now() - last_sent >= ping_interval;
    HttpExchange::Taken taken = exchange.take(ping_due);
    if (taken.stream && ping_due && !taken.finished && taken.bytes.empty()) {
      taken.bytes = kSsePing;
    }
    const bool chunked = taken.stream && !head.is_http_1_0();
    std::string out;
    if (taken.head) {
      keep_alive = keep_alive && !loop_.stopping && !overrun_ && (!taken.stream || chunked);
      out = render_head(*taken.head, fields,
                        {.chunked = chunked,
                         .close_ends = taken.stream && !chunked,
                         .keep_alive = keep_alive,
                         .body_bytes = taken.head->body.size()});
      if (!taken.stream && !head.is_head()) out += taken.head->body;
    }
    if (!taken.bytes.empty()) {
      if (chunked) out += fmt::format("{:x}\r\n", taken.bytes.size());
      out += taken.bytes;
      if (chunked) out += "\r\n";
    }
    if (taken.finished && chunked) out += "0\r\n\r\n";
    if (!out.empty()) {
      if (!co_await send(std::move(out))) co_return Next::kClose;
      last_sent = Clock::now();
      if (taken.finished) break;
      continue;  // while it was sent, more may have come
    }
    if (taken.finished) break;
    start_read();
    co_await wait_until(taken.stream ? last_sent + ping_interval
                                     : Clock::now() + std::chrono::hours(1));
  }
  if (keep_alive && !overrun_) co_return Next::kAgain;
  co_await linger();
  co_return Next::kClose;
}

// Says no and closes: what the client still sends is not read as a request.
asio::awaitable<HttpConnection::Next> HttpConnection::refuse(const HttpRequestReader& reader,
                                                             HttpReply reply, HttpFields fields) {
  std::string out =
      render_head(reply, fields, {.keep_alive = false, .body_bytes = reply.body.size()});
  if (!reader.is_head()) out += reply.body;
  if (co_await send(std::move(out))) co_await linger();
  co_return Next::kClose;
}

// Closing with unread input would reset the connection, and the client might never see the reply.
asio::awaitable<void> HttpConnection::linger() {
  socket_->shutdown_write();
  const auto deadline = Clock::now() + kLingerTime;
  while (!ended_ && !loop_.stopping) {
    input_.clear();
    start_read();
    if (!co_await wait_until(deadline)) break;
  }
}

void HttpLoop::wake_later(std::weak_ptr<HttpConnection> connection) {
  {
    std::lock_guard lock(mutex_);
    woken_.push_back(std::move(connection));
    if (woken_.size() > 1) return;  // whoever came first has posted
  }
  asio::post(context, [this] { wake_all(); });
}

void HttpLoop::wake_all() {
  {
    std::lock_guard lock(mutex_);
    waking_.swap(woken_);
  }
  for (const auto& weak : waking_) {
    if (const auto connection = weak.lock()) connection->wake();
  }
  waking_.clear();
}

void HttpLoop::close_idle() {
  stopping = true;
  std::vector<HttpConnection*> idle;
  for (HttpConnection* connection : connections) {
    if (connection->idle()) idle.push_back(connection);
  }
  for (HttpConnection* connection : idle) connection->close();
}

void HttpLoop::close_all() {
  const std::vector<HttpConnection*> all(connections.begin(), connections.end());
  for (HttpConnection* connection : all) connection->close();
}

void serve_connection(HttpLoop& loop, std::shared_ptr<HttpSocket> socket, ConnectionPlace place) {
  const auto connection =
      std::make_shared<HttpConnection>(loop, std::move(socket), std::move(place));
  asio::co_spawn(
      loop.context, [connection]() -> asio::awaitable<void> { return connection->run(); },
      asio::detached);
}

}  // namespace m2
