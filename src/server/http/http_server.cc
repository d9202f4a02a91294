#include "server/http/http_server.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <thread>
#include <vector>

#include "base/log.h"
#include "server/http/connection.h"
#include "server/http/socket.h"
#include "server/http/tls.h"

namespace m2 {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;
using asio::ip::tcp;
using asio::local::stream_protocol;

namespace {

// A loop, its thread, and the connections on it.
struct IoThread {
  explicit IoThread(HttpShared& shared) : loop(shared, context) {}
  ~IoThread() {
    if (thread.joinable()) thread.join();
  }

  HttpLoop loop;  // outlives the context, whose end destroys what is left of connections
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work = asio::make_work_guard(context);
  std::thread thread;
};

Error listen_error(const HttpOptions& options, const ErrorCode& error) {
  const std::string where =
      options.uds.empty() ? fmt::format("port {}", options.port) : options.uds;
  if (error == asio::error::address_in_use) {
    return {ErrorKind::kUnavailable, where + " is in use", options.uds.empty() ? "port" : "uds"};
  }
  if (!options.uds.empty()) {
    return {ErrorKind::kInvalidArgument, fmt::format("--uds {}: {}", where, error.message()),
            "uds"};
  }
  return {ErrorKind::kInvalidArgument,
          fmt::format("cannot listen on {} {}: {}", options.host, where, error.message()), "host"};
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(HttpOptions options, HttpHandler& handler, std::unique_ptr<TlsContext> tls)
      : options_(std::move(options)), shared_{options_, handler, {}, {}}, tls_(std::move(tls)) {
    for (int i = 0; i < options_.io_threads; ++i) {
      threads_.push_back(std::make_unique<IoThread>(shared_));
    }
  }
  ~Impl() { stop(std::chrono::milliseconds(0)); }

  Status start();
  void stop(std::chrono::milliseconds grace);
  uint16_t port() const { return port_; }
  std::string address() const;

 private:
  ErrorCode listen_tcp(const tcp::endpoint& endpoint);
  ErrorCode listen_host();
  ErrorCode listen_uds();
  template <typename Acceptor>
  asio::awaitable<void> accept_from(Acceptor& acceptor);
  void take_connection(Descriptor descriptor);

  const HttpOptions options_;
  HttpShared shared_;
  const std::unique_ptr<TlsContext> tls_;
  std::vector<std::unique_ptr<IoThread>> threads_;
  std::optional<tcp::acceptor> tcp_;
  std::optional<stream_protocol::acceptor> uds_;
  uint16_t port_ = 0;
  size_t next_thread_ = 0;
  bool started_ = false;
};

ErrorCode HttpServer::Impl::listen_tcp(const tcp::endpoint& endpoint) {
  ErrorCode error, ignored;
  tcp::acceptor acceptor(threads_[0]->context);
  acceptor.open(endpoint.protocol(), error);
  if (error) return error;
  acceptor.set_option(asio::socket_base::reuse_address(true), ignored);
  if (endpoint.protocol() == tcp::v6()) {
    acceptor.set_option(asio::ip::v6_only(!endpoint.address().is_unspecified()), ignored);
  }
  acceptor.bind(endpoint, error);
  if (error) return error;
  acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) return error;
  port_ = acceptor.local_endpoint(ignored).port();
  tcp_.emplace(std::move(acceptor));
  return {};
}

ErrorCode HttpServer::Impl::listen_host() {
  if (options_.host.empty()) {
    // Both families on one socket; a machine without IPv6 has the other alone.
    const ErrorCode error = listen_tcp({tcp::v6(), options_.port});
    if (!error || error == asio::error::address_in_use) return error;
    return listen_tcp({tcp::v4(), options_.port});
  }
  ErrorCode error;
  tcp::resolver resolver(threads_[0]->context);
  const auto found =
      resolver.resolve(options_.host, std::to_string(options_.port), tcp::resolver::passive, error);
  for (const auto& entry : found) {
    error = listen_tcp(entry.endpoint());
    if (!error) return error;
  }
  return error;
}

ErrorCode HttpServer::Impl::listen_uds() {
  // A socket that a dead server left behind is taken away; any other file is not ours to remove.
  struct stat entry {};
  ErrorCode error;
  if (::lstat(options_.uds.c_str(), &entry) == 0 && S_ISSOCK(entry.st_mode)) {
    stream_protocol::socket probe(threads_[0]->context);
    probe.connect(stream_protocol::endpoint(options_.uds), error);
    if (!error) return asio::error::address_in_use;
    ::unlink(options_.uds.c_str());
  }
  stream_protocol::acceptor acceptor(threads_[0]->context);
  acceptor.open(stream_protocol(), error);
  if (!error) acceptor.bind(stream_protocol::endpoint(options_.uds), error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (!error) uds_.emplace(std::move(acceptor));
  return error;
}

Status HttpServer::Impl::start() {
  if (options_.uds.size() >= sizeof(sockaddr_un::sun_path)) {
    return invalid("uds", "--uds is {} bytes long; a socket's path has at most {}",
                   options_.uds.size(), sizeof(sockaddr_un::sun_path) - 1);
  }
  const ErrorCode error = options_.uds.empty() ? listen_host() : listen_uds();
  if (error) return tl::unexpected(listen_error(options_, error));
  started_ = true;
  asio::io_context& context = threads_[0]->context;
  if (tcp_) asio::co_spawn(context, accept_from(*tcp_), asio::detached);
  if (uds_) asio::co_spawn(context, accept_from(*uds_), asio::detached);
  for (auto& io : threads_) {
    io->thread = std::thread([&io = *io] { io.context.run(); });
    pthread_setname_np(io->thread.native_handle(), "m2-http");
  }
  return {};
}

template <typename Acceptor>
asio::awaitable<void> HttpServer::Impl::accept_from(Acceptor& acceptor) {
  for (;;) {
    auto [error, socket] = co_await acceptor.async_accept(asio::as_tuple(asio::use_awaitable));
    if (!acceptor.is_open()) co_return;
    if (error) {  // mostly: out of descriptors. Some will be closed soon.
      log_warning("cannot accept a connection: {}", error.message());
      asio::steady_timer pause(threads_[0]->context, std::chrono::milliseconds(100));
      co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
      if (!acceptor.is_open()) co_return;
      continue;
    }
    ErrorCode failed;
    Descriptor descriptor(socket.release(failed));
    if (!failed) take_connection(std::move(descriptor));
  }
}

void HttpServer::Impl::take_connection(Descriptor descriptor) {
  // Counted here, not where it is served: a burst of them must not pass before the first is
  // counted.
  ConnectionPlace place = ConnectionPlace::take(shared_);
  if (!place) return;
  IoThread& io = *threads_[next_thread_++ % threads_.size()];
  asio::post(io.context,
             [this, &io, descriptor = std::move(descriptor), place = std::move(place)]() mutable {
               auto socket = HttpSocket::adopt(io.context, std::move(descriptor), tls_.get());
               if (socket && !io.loop.stopping) {
                 serve_connection(io.loop, std::move(socket), std::move(place));
               }
             });
}

std::string HttpServer::Impl::address() const {
  if (!options_.uds.empty()) return "unix:" + options_.uds;
  const bool any = options_.host.empty() || options_.host == "0.0.0.0" || options_.host == "::";
  std::string host = any ? "127.0.0.1" : options_.host;
  if (host.find(':') != std::string::npos) host = "[" + host + "]";
  return fmt::format("{}://{}:{}", tls_ ? "https" : "http", host, port_);
}

void HttpServer::Impl::stop(std::chrono::milliseconds grace) {
  if (!started_) return;
  started_ = false;
  asio::post(threads_[0]->context, [this] {
    ErrorCode ignored;
    if (tcp_) tcp_->close(ignored);
    if (uds_) uds_->close(ignored);
  });
  for (auto& io : threads_) {
    asio::post(io->context, [&io = *io] { io.loop.close_idle(); });
  }
  const auto deadline = std::chrono::steady_clock::now() + grace;
  while (shared_.connections > 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  for (auto& io : threads_) {
    asio::post(io->context, [&io = *io] {
      io.loop.close_all();
      io.work.reset();  // the loop ends when the last connection has
    });
  }
  for (auto& io : threads_) io->thread.join();
  if (uds_) ::unlink(options_.uds.c_str());
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::create(HttpOptions options, HttpHandler& handler) {
  std::unique_ptr<TlsContext> tls;
  if (options.ssl_certfile.empty() != options.ssl_keyfile.empty()) {
    return invalid("ssl-certfile", "--ssl-keyfile and --ssl-certfile go together");
  }
  if (!options.ssl_certfile.empty()) {
    M2_ASSIGN(tls, TlsContext::load({options.ssl_certfile, options.ssl_keyfile, options.ssl_ciphers,
                                     options.ssl_ca_certs, options.ssl_cert_reqs}));
  }
  return std::unique_ptr<HttpServer>(
      new HttpServer(std::make_unique<Impl>(std::move(options), handler, std::move(tls))));
}

Status HttpServer::start() { return impl_->start(); }
uint16_t HttpServer::port() const { return impl_->port(); }
std::string HttpServer::address() const { return impl_->address(); }
void HttpServer::stop(std::chrono::milliseconds grace) { impl_->stop(grace); }

}  // namespace m2
