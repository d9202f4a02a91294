#include "server/http/exchange.h"

#include <utility>

namespace m2 {

// Under the lock: `wake_` hands over to the connection's loop and comes back.
void HttpExchange::wake_reader() {
  if (wake_pending_ || !wake_) return;
  wake_pending_ = true;
  wake_();
}

bool HttpExchange::reply(HttpReply reply) {
  std::function<void()> unused;  // let go outside the lock: it may own anything
  {
    std::lock_guard lock(mutex_);
    if (gone_ || finished_ || head_taken_) return false;
    head_ = std::move(reply);
    bytes_.clear();
    state_ = State::kWhole;
    finished_ = true;
    unused = std::exchange(gone_callback_, nullptr);
    wake_reader();
  }
  return true;
}

void HttpExchange::open_stream(HttpReply head) {
  {
    std::lock_guard lock(mutex_);
    if (gone_ || finished_) return;
    head_ = std::move(head);
    state_ = State::kStream;
    wake_reader();  // from now on the connection sends pings
  }
}

bool HttpExchange::write(std::string_view bytes) {
  std::function<void()> gone;
  bool dropped = false;
  {
    std::lock_guard lock(mutex_);
    if (gone_) return false;
    if (finished_ || state_ != State::kStream) return true;
    // One write that is larger by itself (a long prompt's logprobs) is bounded by its request, and
    // says nothing about its reader.
    const size_t counted = bytes.size() > backlog_bytes_ ? 0 : bytes.size();
    if (behind_bytes_ + counted > backlog_bytes_) {
      dropped = gone_ = dropped_ = true;
      bytes_.clear();
      wake_pending_ = false;  // it may be waiting for the socket: wake it once more
      gone = std::exchange(gone_callback_, nullptr);
    } else {
      bytes_ += bytes;
      behind_bytes_ += counted;
    }
    wake_reader();
  }
  if (gone) gone();
  return !dropped;
}

void HttpExchange::finish() {
  std::function<void()> unused;
  {
    std::lock_guard lock(mutex_);
    if (gone_ || finished_) return;
    finished_ = true;
    unused = std::exchange(gone_callback_, nullptr);
    wake_reader();
  }
}

bool HttpExchange::gone() const {
  std::lock_guard lock(mutex_);
  return gone_;
}

bool HttpExchange::dropped() const {
  std::lock_guard lock(mutex_);
  return dropped_;
}

void HttpExchange::on_gone(std::function<void()> callback) {
  {
    std::lock_guard lock(mutex_);
    if (!gone_) {
      if (!finished_) gone_callback_ = std::move(callback);
      return;
    }
  }
  callback();
}

void HttpExchange::on_ready(std::function<void()> wake) {
  std::lock_guard lock(mutex_);
  wake_ = std::move(wake);
}

HttpExchange::Taken HttpExchange::take(bool want_head) {
  std::lock_guard lock(mutex_);
  wake_pending_ = false;
  Taken taken;
  taken.stream = state_ == State::kStream;
  if (state_ == State::kEmpty) return taken;
  const bool send_head = !taken.stream || want_head || finished_ || !bytes_.empty();
  if (!head_taken_ && send_head) {
    taken.head = std::move(head_);
    head_taken_ = true;
  }
  taken.bytes = std::exchange(bytes_, {});
  behind_bytes_ = 0;
  taken.finished = finished_;
  return taken;
}

void HttpExchange::leave() {
  std::function<void()> gone;
  {
    std::lock_guard lock(mutex_);
    wake_ = nullptr;
    if (gone_) return;
    gone_ = true;
    bytes_.clear();
    gone = std::exchange(gone_callback_, nullptr);
  }
  if (gone) gone();
}

}  // namespace m2
