// A client that sends the very bytes it is told to, for tests of what servers get sent.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace m2::test {

struct RawReply {
  int status = 0;  // 0: no reply, the connection was closed
  std::string head;
  std::string body;  // chunks put together
  std::string field(std::string_view name) const;
};

class RawClient {
 public:
  explicit RawClient(uint16_t port);
  explicit RawClient(const std::string& unix_path);
  ~RawClient();
  RawClient(RawClient&& other) noexcept : socket_(std::exchange(other.socket_, -1)) {}

  bool connected() const { return socket_ >= 0; }
  bool send(std::string_view bytes);  // false once the other side has closed
  void set_receive_buffer(int bytes);

  RawReply read_reply(bool head_only = false);
  // The head, then what comes until `mark` is in the body (or the end); nothing is decoded.
  std::string read_until(std::string_view mark);
  bool closed();  // the other side closes, within the patience of a test
  void close();

 private:
  bool fill();  // false at the end

  int socket_ = -1;
  std::string input_;
};

// "POST /path" with a JSON body.
std::string post(std::string_view path, std::string_view body, std::string_view fields = "");
std::string get(std::string_view path, std::string_view fields = "");

// One request on a connection of its own.
RawReply ask(uint16_t port, std::string_view request);

// The payloads of "data: …" events, and whether comments were among them.
std::vector<std::string> events_of(std::string_view stream);

}  // namespace m2::test
