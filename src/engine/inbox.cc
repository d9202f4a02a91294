#include "engine/inbox.h"

#include <chrono>
#include <iterator>
#include <utility>

namespace m2 {
namespace {

void move_all(std::vector<Command>& from, std::vector<Command>& to) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
  from.clear();
}

}  // namespace

Status Inbox::submit(std::unique_ptr<Sequence> request) {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return fail(ErrorKind::kUnavailable, "", "the engine has stopped");
    if (wish_ != Wish::kRun) {
      return fail(ErrorKind::kUnavailable, "", "the server is shutting down");
    }
    if (waiting_ >= max_waiting_) {
      return fail(ErrorKind::kUnavailable, "", "{} requests are waiting already, at most {} may",
                  waiting_, max_waiting_);
    }
    ++waiting_;
    commands_.push_back({std::move(request), 0});
  }
  ready_.notify_one();
  return {};
}

bool Inbox::has_room() const {
  std::lock_guard lock(mutex_);
  return waiting_ < max_waiting_;
}

void Inbox::cancel(RequestId id) {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    commands_.push_back({nullptr, id});
  }
  ready_.notify_one();
}

void Inbox::drain() {
  {
    std::lock_guard lock(mutex_);
    if (wish_ == Wish::kRun) wish_ = Wish::kDrain;
  }
  ready_.notify_one();
}

void Inbox::stop() {
  {
    std::lock_guard lock(mutex_);
    wish_ = Wish::kStop;
  }
  ready_.notify_one();
}

Inbox::Wish Inbox::take(std::vector<Command>& commands, bool wait) {
  std::unique_lock lock(mutex_);
  if (wait) {
    ready_.wait_for(lock, std::chrono::seconds(1),
                    [&] { return !commands_.empty() || wish_ != Wish::kRun; });
  }
  move_all(commands_, commands);
  return wish_;
}

void Inbox::close(std::vector<Command>& commands) {
  std::lock_guard lock(mutex_);
  closed_ = true;
  move_all(commands_, commands);
}

void Inbox::note_no_longer_waiting(int64_t requests) {
  std::lock_guard lock(mutex_);
  waiting_ -= requests;
}

}  // namespace m2
