#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <vector>

namespace m2 {
namespace {

TEST(ThreadPoolTest, RunsWhatIsQueuedBeforeItEnds) {
  std::atomic<int> runs{0};
  {
    ThreadPool pool("test", 2, 100);
    for (int i = 0; i < 100; ++i) pool.try_post([&runs] { ++runs; });
  }
  EXPECT_EQ(runs, 100);
}

TEST(ThreadPoolTest, JoinRunsWhatIsQueuedAndTakesNoMore) {
  std::atomic<int> runs{0};
  ThreadPool pool("test", 2, 100);
  for (int i = 0; i < 100; ++i) pool.try_post([&runs] { ++runs; });
  pool.join();
  EXPECT_EQ(runs, 100);
  EXPECT_FALSE(pool.try_post([&runs] { ++runs; }));
  pool.join();
  EXPECT_EQ(runs, 100);
}

TEST(ThreadPoolTest, RefusesWhenTheQueueIsFull) {
  std::promise<void> release, started;  // outlive the pool, whose thread uses them
  ThreadPool pool("test", 1, 1);
  ASSERT_TRUE(pool.try_post([&] {
    started.set_value();
    release.get_future().wait();
  }));
  started.get_future().wait();  // the thread is busy, so the next task stays queued
  EXPECT_TRUE(pool.try_post([] {}));
  EXPECT_FALSE(pool.try_post([] {}));
  release.set_value();
}

TEST(StrandTest, KeepsOrderAndNeverOverlaps) {
  std::vector<int> seen;  // written without a lock: the strand is the lock
  std::promise<void> done;
  {
    ThreadPool pool("test", 4, 1000);
    const auto strand = std::make_shared<Strand>(pool);
    for (int i = 0; i < 1000; ++i) strand->post([&seen, i] { seen.push_back(i); });
    strand->post([&done] { done.set_value(); });
    done.get_future().wait();
  }
  ASSERT_EQ(seen.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(seen[i], i);
}

TEST(StrandTest, AFullPoolLosesNoTask) {
  std::atomic<int> runs{0};
  std::promise<void> release, started;
  ThreadPool pool("test", 1, 1);
  ASSERT_TRUE(pool.try_post([&] {
    started.set_value();
    release.get_future().wait();
  }));
  started.get_future().wait();
  ASSERT_TRUE(pool.try_post([] {}));
  const auto strand = std::make_shared<Strand>(pool);
  strand->post([&runs] { ++runs; });  // the pool refuses, so this thread runs it
  EXPECT_EQ(runs, 1);
  release.set_value();
}

}  // namespace
}  // namespace m2
