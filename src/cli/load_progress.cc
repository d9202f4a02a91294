#include "cli/load_progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/log.h"

namespace m2::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kBarStep{200}, kLineStep{5'000};

}  // namespace

std::string load_line(size_t bytes, size_t total, double seconds) {
  const auto share = static_cast<double>(bytes) / static_cast<double>(std::max<size_t>(total, 1));
  std::string line = fmt::format("{:.0f} % of {:.1f} GB", 100 * share, double(total) / 1e9);
  if (seconds > 0) line += fmt::format(", {:.1f} GB/s", double(bytes) / 1e9 / seconds);
  return line;
}

LoadProgress::LoadProgress() : terminal_(isatty(STDERR_FILENO) != 0) {}

void LoadProgress::begin(size_t bytes) {
  stop();
  total_ = bytes;
  before_ = bytes_;
  begin_ = Clock::now();
  ended_ = drawn_ = false;
  thread_ = std::thread([this] { watch(); });
}

void LoadProgress::end() {
  stop();
  seconds_ += Clock::now() - begin_;
  if (!drawn_) return;
  show();
  if (terminal_) fmt::print(stderr, "\n");
}

void LoadProgress::stop() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    ended_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void LoadProgress::watch() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, terminal_ ? kBarStep : kLineStep, [this] { return ended_; })) show();
}

void LoadProgress::show() {
  const std::chrono::duration<double> took = Clock::now() - begin_;
  const size_t bytes = std::min(bytes_ - before_, total_);
  const std::string line = load_line(bytes, total_, took.count());
  drawn_ = true;
  if (!terminal_) return log_info("loading weights: {}", line);
  constexpr size_t kCells = 24;
  const size_t full = bytes * kCells / std::max<size_t>(total_, 1);
  fmt::print(stderr, "\rweights [{:=<{}}{: <{}}] {}  ", "", full, "", kCells - full, line);
  std::fflush(stderr);
}

}  // namespace m2::cli
