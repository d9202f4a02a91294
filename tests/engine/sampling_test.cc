#include "engine/sampling.h"

#include <gtest/gtest.h>

#include "tests/engine/reference.h"

namespace m2 {
namespace {

using Ids = std::vector<TokenId>;

constexpr Capacity kCapacity{.num_blocks = 8,
                             .block_tokens = 4,
                             .max_step_tokens = 20,
                             .max_sequences = 4,
                             .max_sample_rows = 8,
                             .max_model_tokens = 100,
                             .vocab_size = 70};

Request make_request() {
  Request request;
  request.id = 1;
  request.prompt = {10, 11, 12};
  request.stop.max_tokens = 20;
  request.stop.eos_token_ids = {1};
  request.stop.stop_token_ids = {2};
  return request;
}

// A sequence that has said `output`, and the step that draws its next token.
class Drawing {
 public:
  explicit Drawing(Request request, Ids output = {})
      : sequence_(std::move(request), kCapacity.max_model_tokens), step_(kCapacity) {
    sequence_.slot = 2;
    sequence_.state = SequenceState::kRunning;
    say(output);
  }

  Sequence& sequence() { return sequence_; }
  void say(const Ids& output) {
    sequence().tokens.insert(sequence().tokens.end(), output.begin(), output.end());
  }

  // Plans the draw of the next token; the row computes the last token only.
  const SampleRow& draw() {
    step_.clear();
    step_.plan.set_step(5);
    PlannedRow row{};
    row.sequence = &sequence();
    row.first_token = 7;
    row.num_tokens = 1;
    row.context_tokens = sequence().known() - 1;
    row.draws = true;
    step_.rows.push_back(row);
    plan_samples(kCapacity, step_);
    return step_.sample.rows.at(0);
  }

  Ids ids(Range range) const {
    const auto begin = step_.sample.ids.begin() + range.begin;
    return {begin, begin + range.count};
  }
  Ids banned() { return ids(draw().banned); }
  Step& step() { return step_; }

 private:
  Sequence sequence_;
  Step step_;
};

TEST(SamplingTest, ADrawSaysWhereAndHow) {
  Request request = make_request();
  request.sampling.temperature = 0.5f;
  request.sampling.top_p = 0.9f;
  request.sampling.min_p = 0.1f;
  request.sampling.top_k = 40;
  request.sampling.seed = 100;
  request.sampling.num_logprobs = 3;
  Drawing drawing(std::move(request), {20});
  const SampleRow& row = drawing.draw();
  EXPECT_EQ(drawing.step().sample.step, 5u);
  EXPECT_EQ(row.slot, 2);
  EXPECT_EQ(row.token_index, 7);
  EXPECT_EQ(row.position, 4);
  EXPECT_TRUE(row.draw);
  EXPECT_EQ(row.temperature, 0.5f);
  EXPECT_EQ(row.top_p, 0.9f);
  EXPECT_EQ(row.min_p, 0.1f);
  EXPECT_EQ(row.top_k, 40);
  EXPECT_EQ(row.seed, 100u);
  EXPECT_EQ(row.num_logprobs, 3);
  EXPECT_EQ(row.history.count, 0);
  EXPECT_EQ(row.banned.count, 0);
  EXPECT_EQ(row.allowed.count, 0);
  EXPECT_EQ(row.bias.count, 0);
  EXPECT_EQ(row.mask, -1);
}

TEST(SamplingTest, SendsBiasAllowedAndAskedForIds) {
  Request request = make_request();
  request.sampling.logit_bias = {{5, 1.5f}, {6, -2.0f}};
  request.sampling.allowed_token_ids = {5, 6, 7};
  request.sampling.logprob_token_ids = {30, 31};
  Drawing drawing(std::move(request));
  const SampleRow& row = drawing.draw();
  EXPECT_EQ(row.bias.count, 2);
  EXPECT_EQ(drawing.step().sample.bias_ids, (Ids{5, 6}));
  EXPECT_EQ(drawing.step().sample.bias_values, (std::vector<float>{1.5f, -2.0f}));
  EXPECT_EQ(drawing.ids(row.allowed), (Ids{5, 6, 7}));
  EXPECT_EQ(drawing.ids(row.logprob_ids), (Ids{30, 31}));
  EXPECT_EQ(row.num_logprobs, 0);  // asking for ids asks for logprobs
}

TEST(SamplingTest, MinTokensBansTheEndUntilThereAreEnough) {
  Request request = make_request();
  request.stop.min_tokens = 2;
  Drawing drawing(std::move(request));
  EXPECT_EQ(drawing.banned(), (Ids{1, 2}));
  drawing.say({20});
  EXPECT_EQ(drawing.banned(), (Ids{1, 2}));
  drawing.say({21});
  EXPECT_EQ(drawing.banned(), Ids{});
}

TEST(SamplingTest, MinTokensYieldsWhereOnlyTheEndMayFollow) {
  Request request = make_request();
  request.stop.min_tokens = 10;
  request.constraint = std::make_unique<TestConstraint>(1, 1, 70);
  Drawing drawing(std::move(request));
  EXPECT_EQ(drawing.banned(), (Ids{1, 2}));
  drawing.sequence().request.constraint->accept(0);
  EXPECT_EQ(drawing.banned(), Ids{});

  Request only_ends = make_request();
  only_ends.stop.min_tokens = 10;
  only_ends.sampling.allowed_token_ids = {2, 1};
  EXPECT_EQ(Drawing(std::move(only_ends)).banned(), Ids{});
}

TEST(SamplingTest, ABadWordIsBannedAtItsLastTokenOnly) {
  Request request = make_request();
  request.sampling.bad_words = {{40}, {20, 21}, {11, 12, 30}, {20, 20, 22}};
  Drawing drawing(std::move(request));
  EXPECT_EQ(drawing.banned(), (Ids{40}));  // the prompt's 11, 12 do not count
  drawing.say({20});
  EXPECT_EQ(drawing.banned(), (Ids{40, 21}));
  drawing.say({20});
  EXPECT_EQ(drawing.banned(), (Ids{40, 21, 22}));
  drawing.say({33});
  EXPECT_EQ(drawing.banned(), (Ids{40}));
}

TEST(SamplingTest, PenaltiesGetTheHistoryInPieces) {
  Request request = make_request();
  request.sampling.frequency_penalty = 0.5f;
  Drawing drawing(std::move(request), {20});
  SampleRow row = drawing.draw();
  EXPECT_EQ(row.frequency_penalty, 0.5f);
  EXPECT_TRUE(row.history_reset);
  EXPECT_EQ(drawing.ids(row.history), (Ids{10, 11, 12, 20}));
  EXPECT_EQ(row.history_prompt, 3);
  drawing.say({21, 22});
  row = drawing.draw();
  EXPECT_FALSE(row.history_reset);
  EXPECT_EQ(drawing.ids(row.history), (Ids{21, 22}));
  EXPECT_EQ(row.history_prompt, 0);
  drawing.sequence().history_sent = 0;  // as after a preemption: another slot knows nothing
  row = drawing.draw();
  EXPECT_TRUE(row.history_reset);
  EXPECT_EQ(drawing.ids(row.history), (Ids{10, 11, 12, 20, 21, 22}));
}

TEST(SamplingTest, WithoutPenaltiesNoHistoryIsSent) {
  Drawing drawing(make_request(), {20});
  EXPECT_EQ(drawing.draw().history.count, 0);
  EXPECT_FALSE(drawing.draw().history_reset);
}

TEST(SamplingTest, AMaskHasABitForEachToken) {
  Request request = make_request();
  request.constraint = std::make_unique<TestConstraint>(5, 1, 70);
  Drawing drawing(std::move(request));
  EXPECT_EQ(drawing.draw().mask, 0);
  const std::vector<uint32_t>& masks = drawing.step().sample.masks;
  ASSERT_EQ(masks.size(), 3u);  // 70 bits
  for (TokenId token = 0; token < 70; ++token) {
    EXPECT_EQ(masks[token / 32] >> (token % 32) & 1u, token % 3 == 0 ? 1u : 0u) << token;
  }
}

class FreeConstraint : public Constraint {
 public:
  bool fill_mask(std::span<uint32_t> mask) override {
    std::ranges::fill(mask, 0u);
    return false;  // what was written counts for nothing
  }
  bool accept(int32_t) override { return true; }
  bool finished() const override { return false; }
};

TEST(SamplingTest, AConstraintThatRestrictsNothingHasNoMask) {
  Request request = make_request();
  request.constraint = std::make_unique<FreeConstraint>();
  Drawing drawing(std::move(request));
  EXPECT_EQ(drawing.draw().mask, -1);
  EXPECT_TRUE(drawing.step().sample.masks.empty());
}

TEST(SamplingTest, AnEndedSequenceIsNotSampled) {
  Drawing drawing(make_request());
  drawing.draw();
  drawing.sequence().state = SequenceState::kFinished;
  plan_samples(kCapacity, drawing.step());
  EXPECT_TRUE(drawing.step().sample.rows.empty());
  EXPECT_TRUE(drawing.step().rows[0].wasted);
}

}  // namespace
}  // namespace m2
