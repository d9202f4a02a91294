#include "engine/waiting_queue.h"

#include <gtest/gtest.h>

namespace m2 {
namespace {

std::vector<Sequence> make_sequences(std::vector<SequenceRank> ranks) {
  std::vector<Sequence> sequences;
  for (const SequenceRank& rank : ranks) sequences.emplace_back(Request{}, 1).rank = rank;
  return sequences;
}

TEST(WaitingQueueTest, GivesTheLowestPriorityThenTheEarliestTurnThenTheEarliest) {
  auto sequences =
      make_sequences({{1, 0, 0}, {0, 7, 1}, {1, 0, 2}, {-5, 9, 3}, {0, 7, 4}, {0, 6, 5}});
  WaitingQueue queue;
  for (Sequence& sequence : sequences) queue.insert(sequence);
  std::vector<uint64_t> order;
  while (!queue.empty()) {
    order.push_back(queue.front().rank.arrival);
    queue.pop();
  }
  EXPECT_EQ(order, (std::vector<uint64_t>{3, 5, 1, 4, 0, 2}));
}

TEST(WaitingQueueTest, RemovesExactlyOne) {
  auto sequences = make_sequences({{0, 0, 0}, {0, 0, 1}, {0, 0, 2}});
  WaitingQueue queue;
  for (Sequence& sequence : sequences) queue.insert(sequence);
  queue.remove(sequences[1]);
  EXPECT_EQ(queue.size(), 2u);
  EXPECT_EQ(&queue.front(), &sequences[0]);
  queue.pop();
  EXPECT_EQ(&queue.front(), &sequences[2]);
}

}  // namespace
}  // namespace m2
