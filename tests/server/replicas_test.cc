#include "server/replicas.h"

#include <gtest/gtest.h>

#include <numeric>

namespace m2 {
namespace {

using Seat = Replicas::Seat;
using Prompt = std::vector<TokenId>;

// Prompts of different `who` share no prefix.
Prompt prompt(int32_t who, size_t tokens) {
  Prompt ids(tokens);
  std::iota(ids.begin(), ids.end(), who * 100000);
  return ids;
}

TEST(Replicas, OneTakesAll) {
  Replicas replicas(1);
  const Seat seat = replicas.take(prompt(1, 100), "", 50);
  EXPECT_EQ(seat.replica, 0);
  EXPECT_EQ(replicas.work_tokens(0), 150);
  replicas.release(seat);
  EXPECT_EQ(replicas.work_tokens(0), 0);
}

TEST(Replicas, EqualsTakeTurns) {
  Replicas replicas(3);
  std::vector<int> taken(3);
  for (int32_t i = 0; i < 9; ++i) {
    const Seat seat = replicas.take(prompt(i, 200), "", 10);
    ++taken[seat.replica];
    replicas.release(seat);
  }
  EXPECT_EQ(taken, (std::vector<int>{3, 3, 3}));
}

TEST(Replicas, LeastWorkFirst) {
  Replicas replicas(2);
  const Seat longer = replicas.take(prompt(1, 5000), "", 100);
  // Short ones go elsewhere until that is as much.
  for (int32_t i = 2; i < 12; ++i) {
    EXPECT_NE(replicas.take(prompt(i, 300), "", 100).replica, longer.replica);
  }
  EXPECT_EQ(replicas.work_tokens(1 - longer.replica), 10 * 400);
}

TEST(Replicas, AConversationStaysWhereItsPrefixIs) {
  Replicas replicas(4);
  std::vector<int32_t> home(8);
  for (int32_t i = 0; i < 8; ++i) home[i] = replicas.take(prompt(i, 1000), "", 100).replica;
  for (size_t turn = 1; turn < 5; ++turn) {
    for (int32_t i = 7; i >= 0; --i) {
      const Seat seat = replicas.take(prompt(i, 1000 + 200 * turn), "", 100);
      EXPECT_EQ(seat.replica, home[i]) << "conversation " << i << ", turn " << turn;
      // Only what is new counts as work, up to a stride.
      EXPECT_LE(seat.work_tokens, int64_t(200 + 100 + 2 * Replicas::kStrideTokens));
    }
  }
}

TEST(Replicas, UnlessItsReplicaHasSoMuchMoreToDo) {
  Replicas replicas(2);
  const int32_t home = replicas.take(prompt(1, 1000), "", 1).replica;
  std::vector<Seat> crowd;
  while (crowd.size() < 8) crowd.push_back(replicas.take(prompt(1, 1000), "", 256));
  // 8 replies of 256 at home are more than the 1000 tokens of the prompt.
  int away = 0;
  for (const Seat& seat : crowd) away += seat.replica != home ? 1 : 0;
  EXPECT_GT(away, 0);
  EXPECT_LT(away, 8);
}

TEST(Replicas, SaltsPartPrefixes) {
  Replicas replicas(2);
  const Seat first = replicas.take(prompt(1, 1000), "a", 1);
  replicas.release(first);
  EXPECT_EQ(replicas.take(prompt(1, 1000), "b", 1).work_tokens, 1001) << "seen under another salt";
  EXPECT_LT(replicas.take(prompt(1, 1000), "a", 1).work_tokens, 100);
}

TEST(Replicas, ChoicesOfAPromptStayTogether) {
  Replicas replicas(2);
  const Seat first = replicas.take(prompt(1, 1000), "", 40);
  const Seat second = replicas.join(first, 40);
  EXPECT_EQ(second.replica, first.replica);
  EXPECT_EQ(second.work_tokens, 40) << "the prompt is computed once";
  replicas.release(first);
  replicas.release(second);
  EXPECT_EQ(replicas.work_tokens(first.replica), 0);
}

TEST(Replicas, MemoryIsBoundedAndTheOldestGoFirst) {
  Replicas replicas(2);
  const Prompt first = prompt(0, 32768), last = prompt(1, 32768);
  replicas.release(replicas.take(first, "", 1));
  for (int32_t i = 2; i < 140; ++i) replicas.release(replicas.take(prompt(i, 32768), "", 1));
  replicas.release(replicas.take(last, "", 1));
  const Seat again = replicas.take(last, "", 1);
  EXPECT_EQ(again.work_tokens, 1);
  replicas.release(again);
  EXPECT_EQ(replicas.take(first, "", 1).work_tokens, 32769) << "forgotten";
}

}  // namespace
}  // namespace m2
