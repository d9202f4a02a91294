#include "server/http/socket.h"

#include <fmt/format.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <optional>

#include "server/http/tls.h"

namespace m2 {
namespace {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;
using RawSocket = asio::generic::stream_protocol::socket;

std::string peer_name(RawSocket& socket) {
  ErrorCode error;
  const auto endpoint = socket.remote_endpoint(error);
  const int family = error ? 0 : endpoint.protocol().family();
  if (family != AF_INET && family != AF_INET6) return "local";
  asio::ip::tcp::endpoint tcp;
  tcp.resize(endpoint.size());
  std::memcpy(tcp.data(), endpoint.data(), endpoint.size());
  const std::string address = tcp.address().to_string(error);
  return family == AF_INET ? fmt::format("{}:{}", address, tcp.port())
                           : fmt::format("[{}]:{}", address, tcp.port());
}

void reset_socket(RawSocket& socket) {
  ErrorCode ignored;
  socket.set_option(asio::socket_base::linger(true, 0), ignored);
  socket.close(ignored);
}

class PlainSocket : public HttpSocket {
 public:
  explicit PlainSocket(RawSocket socket) : socket_(std::move(socket)), peer_(peer_name(socket_)) {
    ErrorCode ignored;
    socket_.non_blocking(true, ignored);
  }

  void handshake(Done done) override {
    asio::post(socket_.get_executor(), [done = std::move(done)] { done(1); });
  }
  void read_some(char* data, size_t size, Done done) override {
    socket_.async_read_some(
        asio::buffer(data, size),
        [done = std::move(done)](ErrorCode error, size_t bytes) { done(error ? 0 : bytes); });
  }
  void write_some(std::string_view bytes, Done done) override {
    socket_.async_write_some(
        asio::buffer(bytes.data(), bytes.size()),
        [done = std::move(done)](ErrorCode error, size_t sent) { done(error ? 0 : sent); });
  }
  // A failure shows itself again in the write that follows.
  size_t try_write(std::string_view bytes) override {
    ErrorCode error;
    const size_t sent = socket_.write_some(asio::buffer(bytes.data(), bytes.size()), error);
    return error ? 0 : sent;
  }
  void shutdown_write() override {
    ErrorCode ignored;
    socket_.shutdown(RawSocket::shutdown_send, ignored);
  }
  void close() override {
    ErrorCode ignored;
    socket_.close(ignored);
  }
  void reset() override { reset_socket(socket_); }
  std::string peer() const override { return peer_; }

 private:
  RawSocket socket_;
  const std::string peer_;
};

class TlsSocket : public HttpSocket {
 public:
  TlsSocket(RawSocket socket, const TlsContext& tls)
      : peer_(peer_name(socket)), context_(share(tls)), stream_(std::move(socket), context_) {}

  void handshake(Done done) override {
    stream_.async_handshake(asio::ssl::stream_base::server,
                            [done = std::move(done)](ErrorCode error) { done(error ? 0 : 1); });
  }
  void read_some(char* data, size_t size, Done done) override {
    stream_.async_read_some(
        asio::buffer(data, size),
        [done = std::move(done)](ErrorCode error, size_t bytes) { done(error ? 0 : bytes); });
  }
  void write_some(std::string_view bytes, Done done) override {
    stream_.async_write_some(
        asio::buffer(bytes.data(), bytes.size()),
        [done = std::move(done)](ErrorCode error, size_t sent) { done(error ? 0 : sent); });
  }
  size_t try_write(std::string_view) override { return 0; }
  // TLS' own farewell, put into the socket's buffer if it fits; nobody waits for its answer.
  void shutdown_write() override {
    SSL_set_quiet_shutdown(stream_.native_handle(), 0);
    ErrorCode ignored;
    stream_.next_layer().non_blocking(true, ignored);
    stream_.shutdown(ignored);
    stream_.next_layer().shutdown(RawSocket::shutdown_send, ignored);
  }
  void close() override {
    ErrorCode ignored;
    stream_.next_layer().close(ignored);
  }
  void reset() override { reset_socket(stream_.next_layer()); }
  std::string peer() const override { return peer_; }

 private:
  static SSL_CTX* share(const TlsContext& tls) {
    SSL_CTX_up_ref(tls.native());
    return tls.native();
  }

  const std::string peer_;
  asio::ssl::context context_;
  asio::ssl::stream<RawSocket> stream_;
};

}  // namespace

std::shared_ptr<HttpSocket> HttpSocket::adopt(asio::io_context& loop, Descriptor descriptor,
                                              const TlsContext* tls) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (getsockname(descriptor.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return nullptr;
  }
  ErrorCode error;
  RawSocket socket(loop);
  const int protocol = address.ss_family == AF_UNIX ? 0 : IPPROTO_TCP;
  socket.assign(asio::generic::stream_protocol(address.ss_family, protocol), descriptor.get(),
                error);
  if (error) return nullptr;
  (void)descriptor.release();  // the socket has it
  if (protocol == IPPROTO_TCP) socket.set_option(asio::ip::tcp::no_delay(true), error);
  if (!tls) return std::make_shared<PlainSocket>(std::move(socket));
  return std::make_shared<TlsSocket>(std::move(socket), *tls);
}

}  // namespace m2
