// Signals as events of the main thread: no handlers, so nothing runs in the middle of anything.
//
// Made before any other thread starts, so that all of them leave the signals to main.
#pragma once

#include <pthread.h>

#include <chrono>
#include <optional>

namespace m2::cli {

class Signals {
 public:
  enum class Event { kStop, kWake };  // SIGINT or SIGTERM; wake()

  Signals();

  Event wait();                                              // the main thread alone
  std::optional<Event> wait_for(std::chrono::milliseconds);  // nullopt: the time is over
  void wake();                                               // from any thread

  // From now on SIGINT and SIGTERM end the process at once: for work that nobody can interrupt.
  void release();

 private:
  pthread_t main_;
};

}  // namespace m2::cli
