// Shows how far a download is: a bar on a terminal, a line of the log every ten seconds elsewhere.
//
// Thread-safety: one thread makes and ends it; it watches from a thread of its own.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "loader/hub/progress.h"

namespace m2::cli {

// "41 % of 230.1 GB, 1.2 GB/s, 1 min 53 s left, 51 of 125 files".
std::string progress_line(const DownloadProgress& progress, double bytes_a_second);

class DownloadReporter {
 public:
  DownloadReporter(const DownloadProgress& progress, bool shown);
  ~DownloadReporter();
  DownloadReporter(const DownloadReporter&) = delete;
  DownloadReporter& operator=(const DownloadReporter&) = delete;

 private:
  void watch();
  void show(bool last);

  const DownloadProgress& progress_;
  const bool shown_, terminal_;
  double rate_ = 0;  // bytes a second, of the last seconds
  size_t width_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace m2::cli
