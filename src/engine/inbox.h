// Where other threads leave work for the engine thread: requests, cancels, and the wish to end.
//
// Thread-safety: all methods from any thread; take() and close() from the engine thread. A request
// is either refused here or handed to the engine thread: none is lost between the two.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "engine/sequence.h"

namespace m2 {

// Exactly one of the two is set.
struct Command {
  std::unique_ptr<Sequence> submit;
  RequestId cancel = 0;
};

class Inbox {
 public:
  explicit Inbox(int32_t max_waiting) : max_waiting_(max_waiting) {}

  // kUnavailable when too many requests wait, or the engine takes no more.
  Status submit(std::unique_ptr<Sequence> request);
  // Whether submit() would take one now; another thread's may come before it.
  bool has_room() const;
  void cancel(RequestId id);
  void drain();  // refuse submits from now on
  void stop();   // the same, and end what is open

  enum class Wish { kRun, kDrain, kStop };
  // Appends what has come, in order. With `wait`, first sleeps until something comes or, at the
  // latest, a second has passed, so that the engine thread shows that it lives.
  Wish take(std::vector<Command>& commands, bool wait);
  // Refuses submits for good and appends what has come.
  void close(std::vector<Command>& commands);

  // So many requests no longer wait: they started, or ended before.
  void note_no_longer_waiting(int64_t requests);

 private:
  const int32_t max_waiting_;
  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::vector<Command> commands_;
  int64_t waiting_ = 0;  // requests handed over that have not started
  Wish wish_ = Wish::kRun;
  bool closed_ = false;
};

}  // namespace m2
