#include "cli/start_state.h"

#include <fmt/format.h>

#include <algorithm>

namespace m2::cli {

std::string StartState::text() const {
  switch (phase) {
    case StartPhase::kFiles:
      return "reading the model's files";
    case StartPhase::kDownload: {
      const int64_t total = download.total_bytes;
      if (total <= 0) return "downloading";
      // Rounded down: 100 % is said when it is.
      const int64_t percent = std::min<int64_t>(100, 100 * download.there_bytes / total);
      return fmt::format("downloading {} %{}", percent,
                         download.waiting ? ", by another process" : "");
    }
    case StartPhase::kLoad:
      return "loading";
    case StartPhase::kCapture:
      return "capturing";
  }
  return "loading";
}

}  // namespace m2::cli
