#include "cli/signals.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <thread>

namespace m2::cli {
namespace {

// In a process of its own each: signals are the whole process's.
void two_stops_and_then(bool release) {
  Signals signals;
  ::kill(::getpid(), SIGTERM);
  if (signals.wait() != Signals::Event::kStop) std::_Exit(1);
  if (release) signals.release();
  ::kill(::getpid(), SIGINT);
  std::_Exit(3);
}

TEST(SignalsDeathTest, AreEventsUntilReleased) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(two_stops_and_then(false), ::testing::ExitedWithCode(3), "");
  EXPECT_EXIT(two_stops_and_then(true), ::testing::KilledBySignal(SIGINT), "");
}

TEST(SignalsDeathTest, AWakeIsStillAnEventAfterRelease) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto woken = [] {
    Signals signals;
    signals.release();
    std::thread([&] { signals.wake(); }).join();
    std::_Exit(signals.wait() == Signals::Event::kWake ? 4 : 1);
  };
  EXPECT_EXIT(woken(), ::testing::ExitedWithCode(4), "");
}

}  // namespace
}  // namespace m2::cli
