#include "engine/inbox.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace m2 {
namespace {

std::unique_ptr<Sequence> make_open(RequestId id) {
  Request request;
  request.id = id;
  request.prompt = {5, 6};
  return std::make_unique<Sequence>(std::move(request), 100);
}

TEST(InboxTest, KeepsTheOrderOfSubmitsAndCancels) {
  Inbox inbox(10);
  ASSERT_TRUE(inbox.submit(make_open(1)));
  inbox.cancel(1);
  ASSERT_TRUE(inbox.submit(make_open(2)));
  std::vector<Command> commands;
  EXPECT_EQ(inbox.take(commands, false), Inbox::Wish::kRun);
  ASSERT_EQ(commands.size(), 3u);
  EXPECT_EQ(commands[0].submit->request.id, 1u);
  EXPECT_EQ(commands[1].submit, nullptr);
  EXPECT_EQ(commands[1].cancel, 1u);
  EXPECT_EQ(commands[2].submit->request.id, 2u);
}

TEST(InboxTest, BoundsThoseThatWait) {
  Inbox inbox(2);
  EXPECT_TRUE(inbox.submit(make_open(1)));
  EXPECT_TRUE(inbox.submit(make_open(2)));
  std::vector<Command> commands;
  inbox.take(commands, false);  // taking is not starting
  const Status refused = inbox.submit(make_open(3));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::kUnavailable);
  inbox.note_no_longer_waiting(1);
  EXPECT_TRUE(inbox.submit(make_open(3)));
}

TEST(InboxTest, DrainRefusesSubmitsButNotCancels) {
  Inbox inbox(10);
  inbox.drain();
  EXPECT_FALSE(inbox.submit(make_open(1)));
  inbox.cancel(7);
  std::vector<Command> commands;
  EXPECT_EQ(inbox.take(commands, true), Inbox::Wish::kDrain);
  EXPECT_EQ(commands.size(), 1u);
  inbox.stop();
  EXPECT_EQ(inbox.take(commands, true), Inbox::Wish::kStop);
  inbox.drain();  // does not take a stop back
  EXPECT_EQ(inbox.take(commands, true), Inbox::Wish::kStop);
}

TEST(InboxTest, AClosedOneTakesNothing) {
  Inbox inbox(10);
  ASSERT_TRUE(inbox.submit(make_open(1)));
  std::vector<Command> commands;
  inbox.close(commands);
  EXPECT_EQ(commands.size(), 1u);
  EXPECT_FALSE(inbox.submit(make_open(2)));
  inbox.cancel(1);
  inbox.take(commands, false);
  EXPECT_EQ(commands.size(), 1u);
}

TEST(InboxTest, WakesASleeper) {
  Inbox inbox(10);
  std::vector<Command> commands;
  std::thread writer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_TRUE(inbox.submit(make_open(1)));
  });
  while (commands.empty()) inbox.take(commands, true);
  writer.join();
  EXPECT_EQ(commands.size(), 1u);
}

}  // namespace
}  // namespace m2
