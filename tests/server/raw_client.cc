#include "tests/server/raw_client.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "server/http/message.h"

namespace m2::test {
namespace {

constexpr int kPatienceMs = 20'000;  // for what must come at some time; nothing is timed

}  // namespace

std::string RawReply::field(std::string_view name) const {
  for (size_t at = head.find("\r\n"); at != std::string::npos && at + 2 < head.size();) {
    const size_t end = head.find("\r\n", at + 2);
    const std::string line = head.substr(at + 2, end - at - 2);
    const size_t colon = line.find(": ");
    if (colon != std::string::npos && same_text(line.substr(0, colon), name)) {
      return line.substr(colon + 2);
    }
    at = end;
  }
  return "";
}

RawClient::RawClient(uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) close();
}

RawClient::RawClient(const std::string& unix_path) : socket_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, unix_path.c_str(), sizeof(address.sun_path) - 1);
  if (::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) close();
}

RawClient::~RawClient() { close(); }

void RawClient::close() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

bool RawClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

void RawClient::set_receive_buffer(int bytes) {
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

bool RawClient::fill() {
  pollfd ready{socket_, POLLIN, 0};
  if (socket_ < 0 || ::poll(&ready, 1, kPatienceMs) <= 0) return false;
  char bytes[65536];
  const ssize_t count = ::recv(socket_, bytes, sizeof(bytes), 0);
  if (count <= 0) return false;
  input_.append(bytes, static_cast<size_t>(count));
  return true;
}

RawReply RawClient::read_reply(bool head_only) {
  RawReply reply;
  size_t end;
  while ((end = input_.find("\r\n\r\n")) == std::string::npos) {
    if (!fill()) return reply;
  }
  reply.head = input_.substr(0, end + 2);
  input_.erase(0, end + 4);
  reply.status = std::atoi(reply.head.c_str() + 9);
  if (head_only || reply.status == 204 || reply.status == 100) return reply;
  if (reply.field("transfer-encoding") == "chunked") {
    for (;;) {
      size_t line;
      while ((line = input_.find("\r\n")) == std::string::npos) {
        if (!fill()) return reply;
      }
      const size_t size = std::stoul(input_.substr(0, line), nullptr, 16);
      while (input_.size() < line + 2 + size + 2) {
        if (!fill()) return reply;
      }
      reply.body += input_.substr(line + 2, size);
      input_.erase(0, line + 2 + size + 2);
      if (size == 0) return reply;
    }
  }
  const std::string length = reply.field("content-length");
  if (length.empty()) {
    while (fill()) {
    }
    reply.body = std::exchange(input_, {});
    return reply;
  }
  while (input_.size() < std::stoul(length)) {
    if (!fill()) return reply;
  }
  reply.body = input_.substr(0, std::stoul(length));
  input_.erase(0, std::stoul(length));
  return reply;
}

std::string RawClient::read_until(std::string_view mark) {
  while (input_.find(mark) == std::string::npos) {
    if (!fill()) break;
  }
  return std::exchange(input_, {});
}

bool RawClient::closed() {
  pollfd ready{socket_, POLLIN, 0};
  for (;;) {
    if (::poll(&ready, 1, kPatienceMs) <= 0) return false;
    char bytes[65536];
    if (::recv(socket_, bytes, sizeof(bytes), 0) <= 0) return true;
  }
}

std::string post(std::string_view path, std::string_view body, std::string_view fields) {
  return fmt::format(
      "POST {} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n{}"
      "Content-Length: {}\r\n\r\n{}",
      path, fields, body.size(), body);
}

std::string get(std::string_view path, std::string_view fields) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: test\r\n{}\r\n", path, fields);
}

RawReply ask(uint16_t port, std::string_view request) {
  RawClient client(port);
  client.send(request);
  return client.read_reply();
}

std::vector<std::string> events_of(std::string_view stream) {
  std::vector<std::string> events;
  while (!stream.empty()) {
    const size_t end = stream.find("\n\n");
    const std::string_view event = stream.substr(0, end);
    if (event.starts_with("data: ")) events.emplace_back(event.substr(6));
    if (end == std::string_view::npos) break;
    stream.remove_prefix(end + 2);
  }
  return events;
}

}  // namespace m2::test
