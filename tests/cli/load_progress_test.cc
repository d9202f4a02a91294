#include "cli/load_progress.h"

#include <gtest/gtest.h>

#include <vector>

namespace m2::cli {
namespace {

TEST(LoadProgress, ALineTellsShareAndRate) {
  EXPECT_EQ(load_line(2'500'000'000, 10'000'000'000, 0.5), "25 % of 10.0 GB, 5.0 GB/s");
  EXPECT_EQ(load_line(0, 10'000'000'000, 0), "0 % of 10.0 GB");
}

TEST(LoadProgress, CountsWhatIsPutOverAllRanks) {
  std::vector<std::byte> memory(100);
  HostBlock block(memory.data());
  LoadProgress progress;
  for (int rank = 0; rank < 2; ++rank) {
    progress.begin(70);
    CountedBlock counted(block, progress);
    const auto fill = [](std::byte* to) -> Status {
      *to = std::byte{7};
      return {};
    };
    ASSERT_TRUE(counted.put(30, 40, fill));
    ASSERT_TRUE(counted.put(0, 30, fill));
    progress.end();
  }
  EXPECT_EQ(memory[30], std::byte{7});
  EXPECT_EQ(progress.bytes(), 140u);
  EXPECT_GT(progress.seconds(), 0);
}

}  // namespace
}  // namespace m2::cli
