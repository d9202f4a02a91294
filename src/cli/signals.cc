#include "cli/signals.h"

#include <csignal>
#include <ctime>

namespace m2::cli {
namespace {

constexpr int kWakeSignal = SIGUSR1;

sigset_t watched() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, kWakeSignal}) sigaddset(&set, signal);
  return set;
}

}  // namespace

Signals::Signals() : main_(pthread_self()) {
  const sigset_t set = watched();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // a client that left is an error code of its socket
}

Signals::Event Signals::wait() {
  const sigset_t set = watched();
  int signal = 0;
  while (sigwait(&set, &signal) != 0) {
  }
  return signal == kWakeSignal ? Event::kWake : Event::kStop;
}

std::optional<Signals::Event> Signals::wait_for(std::chrono::milliseconds limit) {
  const sigset_t set = watched();
  const timespec time{limit.count() / 1000, (limit.count() % 1000) * 1'000'000};
  const int signal = sigtimedwait(&set, nullptr, &time);
  if (signal < 0) return std::nullopt;
  return signal == kWakeSignal ? Event::kWake : Event::kStop;
}

void Signals::release() {
  sigset_t stops;
  sigemptyset(&stops);
  for (const int signal : {SIGINT, SIGTERM}) {
    std::signal(signal, SIG_DFL);
    sigaddset(&stops, signal);
  }
  pthread_sigmask(SIG_UNBLOCK, &stops, nullptr);
}

void Signals::wake() { pthread_kill(main_, kWakeSignal); }

}  // namespace m2::cli
