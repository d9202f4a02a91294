// How far `m2 serve` is before it serves: written by the thread that starts, told by /health.
//
// Thread-safety: all from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "loader/hub/progress.h"

namespace m2::cli {

enum class StartPhase : uint8_t {
  kFiles,     // the model is looked for; its small files are downloaded and read
  kDownload,  // of the weights
  kLoad,      // of the weights, into memory and onto the devices
  kCapture    // steps of a GPU are run once and recorded
};

struct StartState {
  std::atomic<StartPhase> phase{StartPhase::kFiles};
  DownloadProgress download;

  // "reading the model's files", "downloading 41 %", "loading" or "capturing".
  std::string text() const;
};

}  // namespace m2::cli
