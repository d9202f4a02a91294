#include "cli/download_reporter.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/log.h"

namespace m2::cli {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kBarStep{250}, kLineStep{10'000};
constexpr double kRateMemory_s = 5;

std::string amount(double bytes) {
  return bytes >= 1e9 ? fmt::format("{:.1f} GB", bytes / 1e9)
                      : fmt::format("{:.1f} MB", bytes / 1e6);
}

std::string duration(double seconds) {
  const auto s = static_cast<int64_t>(seconds);
  if (s >= 3600) return fmt::format("{} h {} min", s / 3600, s % 3600 / 60);
  if (s >= 60) return fmt::format("{} min {} s", s / 60, s % 60);
  return fmt::format("{} s", s);
}

}  // namespace

std::string progress_line(const DownloadProgress& progress, double bytes_a_second) {
  const auto total = static_cast<double>(progress.total_bytes.load());
  const auto there = static_cast<double>(progress.there_bytes.load());
  std::string line =
      fmt::format("{:.0f} % of {}", total > 0 ? 100 * there / total : 0, amount(total));
  if (progress.waiting) {
    line += ", waiting for another process that downloads it";
  } else if (bytes_a_second > 0) {
    line += fmt::format(", {}/s, {} left", amount(bytes_a_second),
                        duration((total - there) / bytes_a_second));
  }
  return line + fmt::format(", {} of {} files", progress.files_there.load(), progress.files.load());
}

DownloadReporter::DownloadReporter(const DownloadProgress& progress, bool shown)
    : progress_(progress), shown_(shown), terminal_(isatty(STDERR_FILENO) != 0) {
  thread_ = std::thread([this] { watch(); });
}

DownloadReporter::~DownloadReporter() {
  {
    std::lock_guard lock(mutex_);
    ended_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void DownloadReporter::watch() {
  std::unique_lock lock(mutex_);
  auto last = Clock::now(), line = last;
  int64_t before = progress_.fetched_bytes;
  while (!wake_.wait_for(lock, kBarStep, [this] { return ended_; })) {
    const auto now = Clock::now();
    const int64_t bytes = progress_.fetched_bytes;
    const double took = std::chrono::duration<double>(now - last).count();
    const double rate = static_cast<double>(bytes - before) / took;
    const double weight = rate_ == 0 ? 1 : std::min(1.0, took / kRateMemory_s);
    rate_ += weight * (rate - rate_);
    last = now;
    before = bytes;
    if (!shown_ || (!terminal_ && now - line < kLineStep)) continue;
    line = now;
    show(false);
  }
  if (shown_ && terminal_ && width_ > 0) show(true);
}

void DownloadReporter::show(bool last) {
  std::string text = progress_line(progress_, rate_);
  if (!terminal_) return log_info("download: {}", text);
  constexpr size_t kBarCells = 24;
  const int64_t total = std::max<int64_t>(1, progress_.total_bytes);
  const auto full = static_cast<size_t>(
      std::clamp<int64_t>(progress_.there_bytes * int64_t{kBarCells} / total, 0, kBarCells));
  text = fmt::format("[{:=<{}}{: <{}}] {}", "", full, "", kBarCells - full, text);
  const size_t width = text.size();
  if (width < width_) text.append(width_ - width, ' ');  // over what stood there
  width_ = width;
  fmt::print(stderr, "\r{}{}", text, last ? "\n" : "");
  std::fflush(stderr);
}

}  // namespace m2::cli
