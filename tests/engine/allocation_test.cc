// The step path allocates nothing: every allocation of this program is counted while an engine runs
// steps of every kind of row. A program of its own, since it replaces operator new.
#include <gtest/gtest.h>

#include <vector>

#include "engine/engine.h"
#include "tests/allocation_counter.h"

namespace m2 {
namespace {

using test::allocations;

constexpr int32_t kSequences = 64;
constexpr int32_t kWarmSteps = 200, kCountedSteps = 1000;
constexpr int32_t kPromptTokens = 100;

// Draws a token a row, without a device, and counts the allocations from one wait to another.
class CountingExecutor : public Executor {
 public:
  Capacity capacity() const override {
    return {.num_blocks = kSequences * 128,
            .block_tokens = 16,
            .max_step_tokens = 2048,
            .max_sequences = kSequences,
            .max_sample_rows = kSequences,
            .max_model_tokens = 2048,
            .vocab_size = 1000};
  }
  void forward(const StepPlan&) override {}
  void sample(const SamplePlan& plan) override { plan_ = &plan; }
  Status wait(Deadline, StepResult& result) override {
    if (++steps_ == kWarmSteps) before_ = allocations;
    if (steps_ == kWarmSteps + kCountedSteps) counted_ = allocations - before_;
    result.step = plan_->step;
    for (const SampleRow& row : plan_->rows) {
      SampledRow& sampled = result.rows.emplace_back();
      sampled.tokens = {static_cast<int32_t>(result.tokens.size()), 1};
      result.tokens.push_back(100 + row.position % 800);
    }
    return {};
  }

  int64_t counted() const { return counted_; }

 private:
  const SamplePlan* plan_ = nullptr;
  int64_t steps_ = 0, before_ = 0, counted_ = -1;
};

class CountingSink : public OutputSink {
 public:
  void publish(std::span<RequestOutput> batch) override {
    for (const RequestOutput& output : batch) tokens += output.tokens.size();
  }
  size_t tokens = 0;
};

// Every second token is banned by turns, as a grammar would.
class EvenOdd : public Constraint {
 public:
  bool fill_mask(std::span<uint32_t> mask) override {
    for (uint32_t& word : mask) word &= 0xffff0fffu;
    return true;
  }
  bool accept(int32_t) override { return true; }
  bool finished() const override { return false; }
};

Request endless(RequestId id) {
  Request request;
  request.id = id;
  for (int32_t i = 0; i < kPromptTokens; ++i) {
    request.prompt.push_back(static_cast<TokenId>((id * 13 + i) % 900));
  }
  request.stop.max_tokens = kWarmSteps + kCountedSteps + 100;
  request.stop.eos_token_ids = {950};
  return request;
}

int64_t allocations_of(std::vector<Request> requests) {
  CountingExecutor executor;
  CountingSink sink;
  Engine engine({.cache_key = 1}, executor, sink);
  for (Request& request : requests) EXPECT_TRUE(engine.submit(std::move(request)));
  engine.drain();
  EXPECT_TRUE(engine.run());
  EXPECT_GT(sink.tokens, requests.size() * kCountedSteps);
  return executor.counted();
}

TEST(AllocationTest, StepsOfPlainRequestsAllocateNothing) {
  std::vector<Request> requests;
  for (RequestId id = 1; id <= kSequences; ++id) requests.push_back(endless(id));
  EXPECT_EQ(allocations_of(std::move(requests)), 0);
}

TEST(AllocationTest, NorDoThoseWithPenaltiesBiasBansAndMasks) {
  std::vector<Request> requests;
  for (RequestId id = 1; id <= kSequences; ++id) {
    requests.push_back(endless(id));
    Request& request = requests.back();
    request.client = id % 3;
    SamplingParams& sampling = request.sampling;
    if (id % 2) sampling.frequency_penalty = 0.5f;
    if (id % 3 == 0) sampling.logit_bias = {{5, 1.0f}, {6, -1.0f}};
    if (id % 3 == 1) sampling.bad_words = {{7}, {100, 101}};
    if (id % 4 == 0) sampling.allowed_token_ids = {1, 2, 3, 4};
    if (id % 5 == 0) request.stop.min_tokens = 2000;
    if (id % 4 == 1) request.constraint = std::make_unique<EvenOdd>();
  }
  EXPECT_EQ(allocations_of(std::move(requests)), 0);
}

}  // namespace
}  // namespace m2
