// How far a download is: written by the threads that fetch, read by whoever shows it.
//
// Thread-safety: all members from any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace m2 {

struct DownloadProgress {
  std::atomic<int64_t> total_bytes{0};    // of all files of the model
  std::atomic<int64_t> there_bytes{0};    // of them on disk, from before or from now
  std::atomic<int64_t> fetched_bytes{0};  // over the network in this run
  std::atomic<int32_t> files{0}, files_there{0};
  std::atomic<bool> waiting{false};    // for another process that fetches the same files
  std::atomic<bool> cancelled{false};  // set it to end the download soon
};

}  // namespace m2
