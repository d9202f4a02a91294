#include "backend/cpu/host.h"

#include <gtest/gtest.h>

namespace m2 {
namespace {

TEST(Host, QuotaOfAContainerLimitsCores) {
  EXPECT_EQ(cores_of_quota("max 100000\n", 8), 8);
  EXPECT_EQ(cores_of_quota("", 8), 8);
  EXPECT_EQ(cores_of_quota("150000 100000\n", 8), 2);
  EXPECT_EQ(cores_of_quota("10000 100000\n", 8), 1);
  EXPECT_EQ(cores_of_quota("9900000 100000\n", 8), 8);
}

TEST(Host, AvailableMemory) {
  EXPECT_EQ(available_of_meminfo("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"), 2097152u);
  EXPECT_EQ(available_of_meminfo("MemTotal: 9 kB\n"), 0u);
  EXPECT_GT(free_memory_bytes(), 0u);
  EXPECT_GE(usable_cores(), 1);
}

}  // namespace
}  // namespace m2
