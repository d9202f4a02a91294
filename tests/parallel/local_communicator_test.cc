#include "parallel/local_communicator.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <thread>

#include "parallel/self_communicator.h"

namespace m2 {
namespace {

// Runs `work` on every rank of a group at once.
void on_ranks(int32_t size, const std::function<void(Communicator&)>& work) {
  auto ranks = LocalCommunicator::make(size);
  std::vector<std::thread> threads;
  for (auto& rank : ranks) threads.emplace_back([&] { work(*rank); });
  for (std::thread& thread : threads) thread.join();
}

TEST(LocalCommunicator, SumsAreInRankOrderAndEqualEverywhere) {
  for (const int32_t size : {1, 2, 3, 8}) {
    for (const size_t count : {size_t{1}, size_t{2}, size_t{1000}, size_t{40001}}) {
      std::vector<std::vector<float>> results(size);
      on_ranks(size, [&](Communicator& rank) {
        std::vector<float> values(count);
        for (size_t i = 0; i < count; ++i) values[i] = 0.1f * float(i % 97) + 1e6f * rank.rank();
        rank.all_reduce_sum(values.data(), count);
        results[rank.rank()] = values;
      });
      for (size_t i = 0; i < count; ++i) {
        float want = 0;
        for (int32_t r = 0; r < size; ++r) want += 0.1f * float(i % 97) + 1e6f * r;
        for (const auto& result : results) ASSERT_EQ(result[i], want);
      }
    }
  }
}

TEST(LocalCommunicator, ManyCallsInARow) {
  on_ranks(4, [](Communicator& rank) {
    for (int round = 0; round < 3000; ++round) {
      float value = static_cast<float>(rank.rank() + round);
      rank.all_reduce_sum(&value, 1);
      ASSERT_EQ(value, 6 + 4 * round);
      int32_t shown = rank.rank() == round % 4 ? round : -1;
      rank.broadcast(&shown, sizeof(shown), round % 4);
      ASSERT_EQ(shown, round);
      int32_t all[4];
      rank.all_gather(&shown, sizeof(shown), all);
      for (int32_t each : all) ASSERT_EQ(each, round);
    }
  });
}

// Small messages are copied aside and large ones read in place: mixed, none may overtake another.
TEST(LocalCommunicator, SmallAndLargeInTurn) {
  on_ranks(4, [](Communicator& rank) {
    std::vector<float> large(9001), gathered(4 * large.size());
    for (int round = 0; round < 300; ++round) {
      const auto mine = static_cast<float>(rank.rank() + round);
      float small[2] = {mine, -mine};
      rank.all_reduce_sum(small, 2);
      std::fill(large.begin(), large.end(), mine);
      if (round % 3 != 0) rank.all_reduce_sum(large.data(), large.size());
      if (round % 3 == 0) rank.all_gather(large.data(), large.size() * 4, gathered.data());
      int32_t root = rank.rank() == round % 4 ? round : -1;
      if (round % 2 == 0) rank.broadcast(&root, sizeof(root), round % 4);
      const auto sum = static_cast<float>(6 + 4 * round);
      ASSERT_EQ(small[0], sum);
      ASSERT_EQ(small[1], -sum);
      ASSERT_EQ(root, round % 2 == 0 ? round : rank.rank() == round % 4 ? round : -1);
      for (size_t i = 0; i < large.size(); i += 500) {
        const float last_ranks = gathered[3 * large.size() + i];
        ASSERT_EQ(round % 3 != 0 ? large[i] : last_ranks,
                  round % 3 != 0 ? sum : static_cast<float>(3 + round));
      }
    }
  });
}

TEST(LocalCommunicator, GatherIsInRankOrder) {
  on_ranks(3, [](Communicator& rank) {
    const int64_t mine[2] = {rank.rank(), 10 * rank.rank()};
    int64_t all[6];
    rank.all_gather(mine, sizeof(mine), all);
    for (int64_t i = 0; i < 3; ++i) {
      EXPECT_EQ(all[2 * i], i);
      EXPECT_EQ(all[2 * i + 1], 10 * i);
    }
  });
}

// A rank that never comes must not keep the others for ever.
TEST(LocalCommunicator, AbortFreesWhoWaits) {
  auto ranks = LocalCommunicator::make(3);
  std::vector<std::thread> waiting;
  for (int i = 0; i < 2; ++i) {
    waiting.emplace_back([&, i] {
      float value = 1;
      ranks[i]->all_reduce_sum(&value, 1);
      ranks[i]->barrier();
      EXPECT_FALSE(ranks[i]->status());
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ranks[2]->abort();
  for (std::thread& thread : waiting) thread.join();
}

TEST(SelfCommunicator, IsAloneAndCanBeStopped) {
  SelfCommunicator self;
  float value = 3;
  self.all_reduce_sum(&value, 1);
  EXPECT_EQ(value, 3);
  EXPECT_TRUE(self.status());
  self.abort();
  EXPECT_FALSE(self.status());
}

}  // namespace
}  // namespace m2
