// One reply on its way out: written by any thread of ours, sent by the connection. Either whole
// (reply) or as a stream (open_stream, write …, finish).
//
// A stream's bytes wait here while the socket is full, up to a limit: a reader that falls further
// behind is dropped, so that it costs memory to nobody. A stream's head goes out with its first
// bytes (or a ping): until then reply() can still take its place, with a proper status.
//
// Thread-safety: all methods from any thread. on_gone's callback is called with no lock held,
// on_ready's under this exchange's lock: it must hand over and return.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "server/http/message.h"

namespace m2 {

class HttpExchange {
 public:
  explicit HttpExchange(size_t backlog_bytes) : backlog_bytes_(backlog_bytes) {}

  // For whoever answers. Each is ignored once the client has gone or the reply is finished.
  bool reply(HttpReply reply);       // false: too late, also because a stream's head has gone out
  void open_stream(HttpReply head);  // head.body is not used
  // False when the client has gone, also because it was too far behind.
  bool write(std::string_view bytes);
  void finish();
  bool gone() const;
  // Called once, when the client goes before the reply is finished; at once if it already has.
  void on_gone(std::function<void()> callback);

  // For the connection.
  struct Taken {
    std::optional<HttpReply> head;  // set once
    std::string bytes;              // of a stream
    bool stream = false;            // the reply is one: bytes come in pieces
    bool finished = false;          // nothing more follows
  };
  // There is something to take, or the client is to go. Called again only after take().
  void on_ready(std::function<void()> wake);
  Taken take(bool want_head);  // want_head: a stream's head even without bytes
  bool dropped() const;        // the reader was too far behind: close on it
  void leave();                // the client has gone

 private:
  enum class State { kEmpty, kWhole, kStream };

  void wake_reader();

  const size_t backlog_bytes_;
  mutable std::mutex mutex_;
  State state_ = State::kEmpty;
  HttpReply head_;
  std::string bytes_;
  size_t behind_bytes_ = 0;  // of bytes_, but for single writes that are larger than the backlog
  bool head_taken_ = false, finished_ = false, gone_ = false, dropped_ = false;
  bool wake_pending_ = false;  // the connection has been woken and has not taken yet
  std::function<void()> wake_, gone_callback_;
};

}  // namespace m2
