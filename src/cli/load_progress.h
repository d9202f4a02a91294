// How far the loading of weights is: a bar on a terminal, a line of the log every few seconds
// elsewhere, and at the end how fast it went.
//
// Thread-safety: add() from any thread; one thread calls the rest.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <string>
#include <thread>

#include "model/weight_block.h"

namespace m2::cli {

// "41 % of 115.2 GB, 31.4 GB/s"; without a rate while none is known.
std::string load_line(size_t bytes, size_t total, double seconds);

class LoadProgress {
 public:
  LoadProgress();
  ~LoadProgress() { stop(); }
  LoadProgress(const LoadProgress&) = delete;
  LoadProgress& operator=(const LoadProgress&) = delete;

  // A rank's weights of so many bytes begin, or have ended.
  void begin(size_t bytes);
  void end();
  void add(size_t bytes) { bytes_ += bytes; }

  size_t bytes() const { return bytes_; }              // of all ranks so far
  double seconds() const { return seconds_.count(); }  // that loading them took

 private:
  void watch();
  void show();
  void stop();

  const bool terminal_;
  std::atomic<size_t> bytes_ = 0;
  size_t total_ = 0;
  std::chrono::duration<double> seconds_{0};
  std::chrono::steady_clock::time_point begin_;
  size_t before_ = 0;  // bytes of the ranks before
  bool drawn_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ended_ = false;
  std::thread thread_;  // while a rank's are loaded
};

// Counts what is put into a block.
class CountedBlock final : public WeightBlock {
 public:
  CountedBlock(WeightBlock& block, LoadProgress& progress) : block_(block), progress_(progress) {}
  std::byte* base() override { return block_.base(); }
  Status put(size_t offset, size_t bytes, const Fill& fill) override {
    M2_TRY(block_.put(offset, bytes, fill));
    progress_.add(bytes);
    return {};
  }
  Result<bool> put_runs(size_t offset, const RandomRuns& runs) override {
    M2_ASSIGN(const bool put, block_.put_runs(offset, runs));
    if (put) progress_.add(runs.row_count * runs.column_count * runs.element_bytes);
    return put;
  }
  Status finish() override { return block_.finish(); }

 private:
  WeightBlock& block_;
  LoadProgress& progress_;
};

}  // namespace m2::cli
