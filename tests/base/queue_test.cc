#include "base/queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <thread>
#include <vector>

namespace m2 {
namespace {

TEST(QueueTest, KeepsOrderAndRefusesWhenFull) {
  Queue<int> queue(2);
  EXPECT_TRUE(queue.try_push(1));
  EXPECT_TRUE(queue.try_push(2));
  EXPECT_FALSE(queue.try_push(3));
  EXPECT_EQ(queue.pop(), 1);
  EXPECT_TRUE(queue.try_push(4));
  EXPECT_EQ(queue.pop(), 2);
  EXPECT_EQ(queue.pop(), 4);
}

TEST(QueueTest, ARefusedItemStaysWithTheCaller) {
  Queue<std::unique_ptr<int>> queue(0);
  auto item = std::make_unique<int>(7);
  EXPECT_FALSE(queue.try_push(std::move(item)));
  ASSERT_NE(item, nullptr);
  EXPECT_EQ(*item, 7);
}

TEST(QueueTest, CloseHandsOutTheRestThenNothing) {
  Queue<int> queue(4);
  EXPECT_TRUE(queue.try_push(1));
  queue.close();
  EXPECT_FALSE(queue.try_push(2));
  EXPECT_EQ(queue.pop(), 1);
  EXPECT_EQ(queue.pop(), std::nullopt);
  std::vector<int> out;
  EXPECT_FALSE(queue.drain(out, true));
}

TEST(QueueTest, ManyWritersOneReader) {
  Queue<int> queue(100000);
  std::vector<std::thread> writers;
  for (int w = 0; w < 4; ++w) {
    writers.emplace_back([&queue] {
      for (int i = 1; i <= 1000; ++i) {
        ASSERT_TRUE(queue.try_push(int(i)));
      }
    });
  }
  std::vector<int> seen;
  while (seen.size() < 4000) queue.drain(seen, true);
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), 0), 4 * 500500);
}

TEST(QueueTest, CloseWakesAWaitingReader) {
  Queue<int> queue(1);
  std::thread reader([&queue] { EXPECT_EQ(queue.pop(), std::nullopt); });
  queue.close();
  reader.join();
}

}  // namespace
}  // namespace m2
