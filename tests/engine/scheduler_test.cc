#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <memory>

#include "engine/commit.h"
#include "engine/sampling.h"

namespace m2 {
namespace {

// Drives a scheduler as the engine does, one step ahead; every draw gives token 9.
class Driver {
 public:
  explicit Driver(Capacity capacity, EngineOptions options = {})
      : capacity_(capacity),
        scheduler_(capacity_, options),
        steps_{Step(capacity), Step(capacity)} {}

  Sequence& add(int32_t prompt_tokens, int32_t max_tokens = 50, int32_t prompt_logprobs = -1) {
    Request request;
    request.id = sequences_.size() + 1;
    for (int32_t i = 0; i < prompt_tokens; ++i) {
      request.prompt.push_back(static_cast<TokenId>(10 + request.id));
    }
    request.stop.max_tokens = max_tokens;
    request.prompt_logprobs = prompt_logprobs;
    return add(std::move(request));
  }
  Sequence& add(Request request) {
    sequences_.push_back(
        std::make_unique<Sequence>(std::move(request), capacity_.max_model_tokens));
    scheduler_.add(*sequences_.back());
    return *sequences_.back();
  }

  // One turn; returns the step that it queued.
  const Step& turn() {
    Step& next = steps_[turn_ ^= 1];
    scheduler_.plan(next);
    if (pending_) commit(steps_[turn_ ^ 1], next);
    plan_samples(capacity_, next);
    pending_ = !next.empty();
    scheduler_.check_invariants();
    return next;
  }

  // Each row as "request:tokens".
  static std::vector<std::string> rows(const Step& step) {
    std::vector<std::string> texts;
    for (const PlannedRow& row : step.rows) {
      texts.push_back(fmt::format("{}:{}", row.sequence->request.id, row.num_tokens));
    }
    return texts;
  }
  std::vector<std::string> next_rows() { return rows(turn()); }

  Scheduler& scheduler() { return scheduler_; }

 private:
  void commit(Step& step, Step& next) {
    StepResult result;
    result.step = step.plan.step();
    for (const SampleRow& row : step.sample.rows) {
      result.rows.push_back({});
      if (!row.draw) continue;
      result.rows.back().tokens = {static_cast<int32_t>(result.tokens.size()), 1};
      result.tokens.push_back(9);
    }
    std::vector<Sequence*> ended;
    int64_t generated = 0;
    CommitContext context{capacity_, scheduler_, next, outputs_, ended, generated};
    const Status status = commit_step(step, result, context);
    ASSERT_TRUE(status) << status.error().message;
    outputs_.clear();
  }

  const Capacity capacity_;
  Scheduler scheduler_;
  Step steps_[2];
  OutputBatch outputs_;
  std::vector<std::unique_ptr<Sequence>> sequences_;
  int turn_ = 0;
  bool pending_ = false;
};

using Rows = std::vector<std::string>;

constexpr Capacity kCapacity{.num_blocks = 100,
                             .block_tokens = 4,
                             .max_step_tokens = 20,
                             .max_sequences = 6,
                             .max_sample_rows = 12,
                             .max_model_tokens = 200,
                             .vocab_size = 100};

TEST(SchedulerTest, DecodesComeFirstThenPrefillUnderOneBudget) {
  Driver driver(kCapacity);
  driver.add(3);
  driver.add(30);
  driver.add(5);
  EXPECT_EQ(driver.next_rows(), (Rows{"1:3", "2:17"}));
  EXPECT_EQ(driver.next_rows(), (Rows{"1:1", "2:13", "3:5"}));
  EXPECT_EQ(driver.next_rows(), (Rows{"1:1", "2:1", "3:1"}));
}

TEST(SchedulerTest, AnOlderPrefillDoesNotComeBeforeAYoungerDecode) {
  EngineOptions options;
  options.long_prefill_tokens = 8;
  Driver driver(kCapacity, options);
  driver.add(30);
  driver.add(3);
  EXPECT_EQ(driver.next_rows(), (Rows{"1:8", "2:3"}));
  EXPECT_EQ(driver.next_rows(), (Rows{"2:1", "1:8"}));
}

TEST(SchedulerTest, WithoutChunksPromptsAreWhole) {
  EngineOptions options;
  options.chunked_prefill = false;
  Driver driver(kCapacity, options);
  driver.add(12);
  driver.add(12);
  driver.add(45);  // fits no step: it is cut, but only when it has a step to itself
  driver.add(2);
  EXPECT_EQ(driver.next_rows(), (Rows{"1:12"}));
  EXPECT_EQ(driver.next_rows(), (Rows{"1:1", "2:12"}));
  EXPECT_EQ(driver.next_rows(), (Rows{"1:1", "2:1", "3:18"}));
}

TEST(SchedulerTest, SlotsBoundThoseThatRun) {
  Driver driver(kCapacity);
  for (int i = 0; i < 8; ++i) driver.add(2, 2);
  EXPECT_EQ(driver.turn().rows.size(), 6u);
  EXPECT_EQ(driver.scheduler().waiting(), 2u);
  driver.turn();  // the second and last tokens
  driver.turn();  // nothing to compute: all six end with it
  EXPECT_EQ(driver.next_rows(), (Rows{"7:2", "8:2"}));
}

TEST(SchedulerTest, FewSampleRowsOrStepTokensBoundThoseThatRun) {
  Capacity capacity = kCapacity;
  capacity.max_sample_rows = 2;
  Driver by_samples(capacity);
  for (int i = 0; i < 4; ++i) by_samples.add(2);
  EXPECT_EQ(by_samples.turn().rows.size(), 2u);

  capacity = kCapacity;
  capacity.max_step_tokens = 3;
  Driver by_tokens(capacity);
  for (int i = 0; i < 5; ++i) by_tokens.add(1);
  EXPECT_EQ(by_tokens.turn().rows.size(), 3u);
}

TEST(SchedulerTest, APromptStartsOnlyIfAllOfItFitsBesideThoseThatBegan) {
  Capacity capacity = kCapacity;
  capacity.num_blocks = 20;
  EngineOptions options;
  options.long_prefill_tokens = 12;  // leaves 8 tokens of each step to others
  Driver driver(capacity, options);
  driver.add(60);                    // 15 blocks, of which the first step takes 3
  Sequence& large = driver.add(24);  // 6 blocks: 17 are free, but 12 are promised
  driver.add(1);                     // would fit, but does not overtake
  EXPECT_EQ(driver.next_rows(), (Rows{"1:12"}));
  EXPECT_EQ(driver.next_rows(), (Rows{"1:12"}));
  // Gone is who stood in the way, though no block came free.
  driver.scheduler().finish(large);
  EXPECT_EQ(driver.next_rows(), (Rows{"1:12", "3:1"}));
}

TEST(SchedulerTest, PreemptsTheLastAndComputesItAgain) {
  Capacity capacity = kCapacity;
  capacity.num_blocks = 8;
  EngineOptions options;
  options.prefix_caching = false;
  Driver driver(capacity, options);
  driver.add(8, 16);                      // 2 blocks, and 4 more to come
  Sequence& second = driver.add(12, 16);  // 3 blocks, and 4 more
  EXPECT_EQ(driver.next_rows(), (Rows{"1:8", "2:12"}));
  while (driver.scheduler().counters().preemptions == 0) driver.turn();
  EXPECT_EQ(second.state, SequenceState::kWaiting);
  EXPECT_EQ(second.num_blocks, 0);
  // It had a draw in flight when it lost its blocks; the token came all the same.
  const int32_t known = second.known();
  EXPECT_GT(known, 13);
  EXPECT_EQ(second.draws_in_flight, 0);
  for (int i = 0; i < 50 && second.state == SequenceState::kWaiting; ++i) driver.turn();
  EXPECT_EQ(second.state, SequenceState::kRunning);
  EXPECT_EQ(second.known(), known);
  EXPECT_EQ(second.computed, known);  // prompt and output, in one prefill
}

TEST(SchedulerTest, TheLastInOrderWaitsWithItsBlocksRatherThanLoseThem) {
  Capacity capacity = kCapacity;
  capacity.num_blocks = 5;
  Driver driver(capacity);
  driver.add(11, 4);                    // 3 blocks, 4 from its third token on
  Sequence& second = driver.add(8, 8);  // 2 blocks, then stuck
  EXPECT_EQ(driver.next_rows(), (Rows{"1:11", "2:8"}));
  EXPECT_EQ(driver.next_rows(), (Rows{"1:1"}));
  EXPECT_EQ(second.state, SequenceState::kRunning);
  // Now the first is stuck as well, and takes the second's blocks.
  EXPECT_EQ(driver.next_rows(), (Rows{"1:1"}));
  EXPECT_EQ(driver.scheduler().counters().preemptions, 1);
  EXPECT_EQ(second.state, SequenceState::kWaiting);
  for (int i = 0; i < 20; ++i) driver.turn();
  EXPECT_EQ(second.state, SequenceState::kFinished);

  Driver other(capacity);
  other.add(11, 2);                  // 3 blocks, enough to its end
  Sequence& last = other.add(8, 8);  // 2 blocks, then stuck
  EXPECT_EQ(other.next_rows(), (Rows{"1:11", "2:8"}));
  EXPECT_EQ(other.next_rows(), (Rows{"1:1"}));
  EXPECT_EQ(last.state, SequenceState::kRunning);
  for (int i = 0; i < 20; ++i) other.turn();
  EXPECT_EQ(other.scheduler().counters().preemptions, 0);
  EXPECT_EQ(last.state, SequenceState::kFinished);
}

TEST(SchedulerTest, ALongPromptLeavesOthersTheirPartOfAStep) {
  Driver driver(kCapacity);  // 20 tokens a step
  const auto add = [&](RequestId id, uint64_t client, int32_t prompt_tokens) {
    Request request;
    request.id = id;
    request.client = client;
    request.prompt.assign(prompt_tokens, static_cast<TokenId>(10 + id));
    driver.add(std::move(request));
  };
  add(1, 1, 150);
  add(2, 1, 150);
  EXPECT_EQ(driver.next_rows(), (Rows{"1:20"}));
  add(3, 2, 5);
  EXPECT_EQ(driver.next_rows(), (Rows{"1:15", "3:5"}));  // no more than it needs
  add(4, 2, 25);
  EXPECT_EQ(driver.next_rows(), (Rows{"3:1", "1:10", "4:9"}));  // a decode comes first
  EXPECT_EQ(driver.next_rows(), (Rows{"3:1", "1:10", "4:9"}));
  EXPECT_EQ(driver.next_rows(), (Rows{"3:1", "1:12", "4:7"}));
  EXPECT_EQ(driver.next_rows(), (Rows{"3:1", "4:1", "1:18"}));
}

TEST(SchedulerTest, ANewcomerOfAnotherClientIsNotTheFirstToLoseItsBlocks) {
  Capacity capacity = kCapacity;
  capacity.num_blocks = 8;
  Driver driver(capacity);
  const auto of_client = [&](uint64_t client) -> Sequence& {
    Request request;
    request.id = request.client = client;
    request.prompt.assign(8, static_cast<TokenId>(10 + 3 * client));
    request.prompt[0] += static_cast<TokenId>(driver.scheduler().running());
    request.stop.max_tokens = 50;
    return driver.add(std::move(request));
  };
  of_client(1);
  driver.turn();
  Sequence& second = of_client(1);
  driver.turn();
  Sequence& newcomer = of_client(2);  // the last in order
  // The first is stuck when all blocks are taken.
  for (int i = 0; i < 20 && driver.scheduler().counters().preemptions == 0; ++i) driver.turn();
  EXPECT_EQ(driver.scheduler().counters().preemptions, 1);
  EXPECT_EQ(second.state, SequenceState::kWaiting);
  EXPECT_EQ(newcomer.state, SequenceState::kRunning);
}

TEST(SchedulerTest, EqualPromptsHitBlocksQueuedInTheSameStep) {
  Driver driver(kCapacity);
  for (RequestId id = 1; id <= 3; ++id) {
    Request request;
    request.id = id;
    request.prompt.assign(10, 11);
    driver.add(std::move(request));
  }
  EXPECT_EQ(driver.next_rows(), (Rows{"1:10", "2:2", "3:2"}));
}

TEST(SchedulerTest, PromptLogprobsAreCutToTheirShareOfSampleRows) {
  Driver driver(kCapacity);  // 12 sample rows, half of them for prompts
  driver.add(16, 50, 0);
  driver.add(3);
  const Step& first = driver.turn();
  EXPECT_EQ(Driver::rows(first), (Rows{"1:6", "2:3"}));
  ASSERT_EQ(first.sample.rows.size(), 7u);
  for (int32_t i = 0; i < 6; ++i) {
    EXPECT_FALSE(first.sample.rows[i].draw);
    EXPECT_EQ(first.sample.rows[i].position, i + 1);
    EXPECT_EQ(first.sample.rows[i].target, 11);
  }
  EXPECT_EQ(driver.next_rows(), (Rows{"2:1", "1:6"}));
  // 15 positions have a token before them; the last row also draws.
  const Step& last = driver.turn();
  EXPECT_EQ(Driver::rows(last), (Rows{"2:1", "1:4"}));
  EXPECT_EQ(last.rows[1].num_targets, 3);
  EXPECT_TRUE(last.rows[1].draws);
}

TEST(SchedulerTest, BlockTablesCoverExactlyWhatARowReadsAndWrites) {
  Driver driver(kCapacity);
  driver.add(30);
  for (int i = 0; i < 20; ++i) {
    const Step& step = driver.turn();
    ASSERT_EQ(step.plan.rows().size(), 1u);
    const StepRow& row = step.plan.rows()[0];
    EXPECT_EQ(row.num_blocks, (row.context_tokens + row.num_tokens + 3) / 4);
    EXPECT_EQ(step.plan.blocks().size(), static_cast<size_t>(row.num_blocks));
  }
}

}  // namespace
}  // namespace m2
