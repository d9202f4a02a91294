#include "backend/cpu/worker_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <vector>

namespace m2 {
namespace {

TEST(WorkerPool, EveryItemOnceAndDoneOnReturn) {
  for (int32_t threads : {1, 2, 5}) {
    WorkerPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int64_t items : {0, 1, 2, 3, 100, 1000}) {
      std::vector<int> done(items);
      pool.for_each(items, [&](int64_t item, int32_t thread) {
        EXPECT_GE(thread, 0);
        EXPECT_LT(thread, threads);
        ++done[item];
      });
      EXPECT_EQ(done, std::vector<int>(items, 1));
    }
  }
}

// Loops follow each other at once: a worker that comes late must not take part in the wrong one.
TEST(WorkerPool, ManyShortLoops) {
  WorkerPool pool(3);
  int64_t wrong = 0;
  for (int64_t round = 0; round < 20000; ++round) {
    int64_t values[4] = {};
    pool.for_each(4, [&](int64_t item, int32_t) { values[item] += round + item; });
    for (int64_t i = 0; i < 4; ++i) wrong += values[i] != round + i;
  }
  EXPECT_EQ(wrong, 0);
}

TEST(WorkerPool, WakesAfterSleep) {
  WorkerPool pool(2);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // longer than a worker spins
    std::atomic<int> sum{0};
    pool.for_each(10, [&](int64_t item, int32_t) { sum += static_cast<int>(item); });
    EXPECT_EQ(sum, 45);
  }
}

}  // namespace
}  // namespace m2
