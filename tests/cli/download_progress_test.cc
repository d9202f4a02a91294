// How far a download is, in the log's words and in those of /health.
#include <gtest/gtest.h>

#include "cli/download_reporter.h"
#include "cli/start_state.h"

namespace m2::cli {
namespace {

TEST(DownloadProgress, IsALineOfTheLog) {
  DownloadProgress progress;
  EXPECT_EQ(progress_line(progress, 0), "0 % of 0.0 MB, 0 of 0 files");
  progress.total_bytes = 230'100'000'000;
  progress.there_bytes = 94'341'000'000;
  progress.files = 125;
  progress.files_there = 51;
  EXPECT_EQ(progress_line(progress, 1.2e9),
            "41 % of 230.1 GB, 1.2 GB/s, 1 min 53 s left, 51 of 125 files");
  EXPECT_EQ(progress_line(progress, 2e7),
            "41 % of 230.1 GB, 20.0 MB/s, 1 h 53 min left, 51 of 125 files");
  progress.waiting = true;
  EXPECT_EQ(progress_line(progress, 0),
            "41 % of 230.1 GB, waiting for another process that downloads it, 51 of 125 files");
}

TEST(StartState, TellsItsPhase) {
  StartState state;
  EXPECT_EQ(state.text(), "reading the model's files");
  state.phase = StartPhase::kDownload;
  EXPECT_EQ(state.text(), "downloading") << "the sizes are not known yet";
  state.download.total_bytes = 230'100'000'000;
  EXPECT_EQ(state.text(), "downloading 0 %");
  state.download.there_bytes = 94'341'000'000;
  EXPECT_EQ(state.text(), "downloading 41 %");
  state.download.there_bytes = state.download.total_bytes - 1;
  EXPECT_EQ(state.text(), "downloading 99 %") << "not all of it is there";
  state.download.there_bytes = state.download.total_bytes.load();
  EXPECT_EQ(state.text(), "downloading 100 %");
  state.download.there_bytes = 7;
  state.download.total_bytes = 150;  // less than a byte a percent
  state.download.waiting = true;
  EXPECT_EQ(state.text(), "downloading 4 %, by another process");
  state.phase = StartPhase::kLoad;
  EXPECT_EQ(state.text(), "loading");
  state.phase = StartPhase::kCapture;
  EXPECT_EQ(state.text(), "capturing");
}

}  // namespace
}  // namespace m2::cli
