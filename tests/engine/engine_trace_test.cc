// Random traces: submits, cancels and preemptions over a tiny pool, every invariant checked after
// every step, every answer compared with what the reference gives for its request alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>

#include "engine/engine.h"
#include "tests/engine/reference.h"

namespace m2 {
namespace {

constexpr TokenId kEnd = 1;

struct TraceCase {
  std::string name;
  uint64_t seed = 1;
  uint64_t steps = 10'000;
  FakeOptions fake;
  EngineOptions engine;
};

void PrintTo(const TraceCase& what, std::ostream* out) { *out << what.name; }

// What the test remembers of a request to compute its answer from.
struct Asked {
  Request request;  // without its constraint
  MakeConstraint make_constraint;
  std::optional<uint64_t> cancelled_at;  // turn
};

class Trace {
 public:
  explicit Trace(TraceCase what)
      : case_(std::move(what)), random_(case_.seed), executor_(with_hooks(case_.fake)) {
    case_.engine.check_invariants = true;
    case_.engine.cache_key = case_.seed;
    engine_ = std::make_unique<Engine>(case_.engine, executor_, sink_);
    sink_.on_output = [this](const RequestOutput& output) { heard(output); };
    for (int i = 0; i < 4; ++i) prefixes_.push_back(random_tokens(60));
  }

  void run() {
    submit();
    const Status status = engine_->run();
    ASSERT_TRUE(status) << status.error().message;
    for (const auto& [id, asked] : open_) {
      EXPECT_TRUE(asked.cancelled_at) << "request " << id << " never ended";
    }
    EXPECT_EQ(executor_.wrong_reads(), 0u);
    EXPECT_EQ(engine_->stats().blocks_used, 0);
    EXPECT_EQ(engine_->stats().running, 0);
    EXPECT_EQ(engine_->stats().waiting, 0);
    EXPECT_GT(answered_, case_.steps / 100);
  }

  const EngineStats& stats() const { return engine_->stats(); }
  uint64_t answered() const { return answered_; }
  uint64_t cancelled() const { return cancelled_; }

 private:
  FakeOptions with_hooks(FakeOptions fake) {
    fake.on_wait = [this](uint64_t) { act(); };
    return fake;
  }

  int pick(int low, int high) { return std::uniform_int_distribution(low, high)(random_); }
  bool chance(int percent) { return pick(1, 100) <= percent; }

  std::vector<TokenId> random_tokens(int count) {
    std::vector<TokenId> tokens;
    for (int i = 0; i < count; ++i) tokens.push_back(pick(2, case_.fake.capacity.vocab_size - 1));
    return tokens;
  }

  // One turn of the loop, on the engine thread: outside threads could do these things at any time.
  void act() {
    if (++turn_ == case_.steps) engine_->drain();
    if (turn_ >= case_.steps) return;
    const int wanted = case_.fake.capacity.max_sequences * 2;
    if (alive() == 0 || (alive() < wanted && chance(25))) submit();
    // Another choice of the same prompt, in the same step.
    while (alive() < wanted && chance(20)) submit(true);
    if (chance(3)) submit_too_large();
    if (alive() > 1 && chance(8)) cancel_one();
  }

  int alive() const {
    return static_cast<int>(std::ranges::count_if(
        open_, [](const auto& entry) { return !entry.second.cancelled_at.has_value(); }));
  }

  SamplingParams random_sampling() {
    SamplingParams sampling;
    sampling.seed = static_cast<uint64_t>(pick(0, 1000));
    if (chance(30)) sampling.temperature = 0.0f;
    if (chance(20)) sampling.repetition_penalty = 1.1f;
    if (chance(10)) sampling.presence_penalty = 0.5f;
    if (chance(10)) sampling.allowed_token_ids = {2, 3, 5, 7, 11, 13};
    if (chance(10)) sampling.logit_bias = {{static_cast<TokenId>(pick(2, 9)), 60.0f}, {10, -1.0f}};
    if (chance(20)) sampling.bad_words = {{2}, {3, 4}, {5, 7, 5}};
    if (chance(20)) sampling.num_logprobs = pick(0, 3);
    return sampling;
  }

  Request random_request() {
    Request request;
    request.id = next_id_++;
    const std::vector<TokenId>& prefix = prefixes_[pick(0, 3)];
    request.prompt.assign(prefix.begin(), prefix.begin() + pick(0, 60));
    const std::vector<TokenId> rest = random_tokens(pick(1, 20));
    request.prompt.insert(request.prompt.end(), rest.begin(), rest.end());
    request.sampling = random_sampling();
    request.stop.max_tokens = pick(1, 40);
    request.stop.min_tokens = chance(30) ? pick(0, 20) : 0;
    request.stop.ignore_eos = chance(20);
    request.stop.eos_token_ids = {kEnd};
    if (chance(30)) request.stop.stop_token_ids = {2, 17};
    request.priority = pick(0, 3);
    request.client = static_cast<uint64_t>(pick(0, 2));
    if (chance(30)) request.cache_salt = salts_[pick(0, 1)];
    if (chance(10)) request.prompt_logprobs = pick(0, 2);
    return request;
  }

  void submit(bool same_prompt = false) {
    Asked asked{random_request(), {}, {}};
    if (same_prompt) {
      asked.request.prompt = last_.prompt;
      asked.request.cache_salt = last_.cache_salt;
    }
    const int32_t vocab_size = case_.fake.capacity.vocab_size;
    if (chance(15) && asked.request.sampling.allowed_token_ids.empty()) {
      asked.request.sampling.bad_words.clear();  // with the grammar they might leave nothing
      asked.request.stop.stop_token_ids.clear();
      asked.request.stop.ignore_eos = false;
      asked.make_constraint = [most = pick(1, 12), vocab_size] {
        return std::make_unique<TestConstraint>(most, kEnd, vocab_size);
      };
    }
    Request sent = copy_of(asked.request);
    if (asked.make_constraint) sent.constraint = asked.make_constraint();
    const RequestId id = sent.id;
    const Status status = engine_->submit(std::move(sent));
    ASSERT_TRUE(status) << status.error().message;
    last_ = copy_of(asked.request);
    open_.emplace(id, std::move(asked));
  }

  void submit_too_large() {
    Request request = random_request();
    request.prompt = random_tokens(case_.fake.capacity.max_model_tokens);
    request.stop.max_tokens = 1000;
    const Status status = engine_->submit(std::move(request));
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().kind, ErrorKind::kInvalidArgument);
  }

  void cancel_one() {
    auto entry = std::next(open_.begin(), pick(0, static_cast<int>(open_.size()) - 1));
    if (entry->second.cancelled_at) return;
    entry->second.cancelled_at = turn_;
    ++cancelled_;
    engine_->cancel(entry->first);
  }

  void heard(const RequestOutput& output) {
    const auto found = open_.find(output.id);
    ASSERT_NE(found, open_.end()) << "request " << output.id << " is not open";
    const Asked& asked = found->second;
    if (asked.cancelled_at) {
      // What the step in flight brought may still come out, later ones not.
      EXPECT_EQ(*asked.cancelled_at, turn_) << "request " << output.id << " was cancelled";
    }
    if (!output.finished()) return;
    expect_right(sink_.heard(output.id), asked.request, case_.fake.capacity, asked.make_constraint);
    sink_.forget(output.id);
    ++answered_;
    open_.erase(found);
    if (alive() == 0 && turn_ < case_.steps) submit();
  }

  TraceCase case_;
  std::mt19937_64 random_;
  HearingSink sink_;
  FakeExecutor executor_;
  std::unique_ptr<Engine> engine_;
  const std::vector<std::string> salts_{"one", "two"};
  std::vector<std::vector<TokenId>> prefixes_;
  std::map<RequestId, Asked> open_;
  Request last_;
  RequestId next_id_ = 1;
  uint64_t turn_ = 0, answered_ = 0, cancelled_ = 0;
};

TraceCase base_case(std::string name) {
  TraceCase what;
  what.name = std::move(name);
  what.fake.capacity.num_blocks = 40;  // 160 tokens: barely more than the longest request
  what.fake.capacity.max_step_tokens = 24;
  what.engine.max_waiting = 1 << 20;
  return what;
}

std::vector<TraceCase> cases() {
  std::vector<TraceCase> all;
  const auto add = [&](std::string name, auto change) {
    TraceCase what = base_case(std::move(name));
    what.seed = all.size() + 1;
    change(what);
    all.push_back(std::move(what));
  };
  add("AsUsual", [](TraceCase&) {});
  add("ByPriority", [](TraceCase& c) { c.engine.policy = SchedulingPolicy::kPriority; });
  add("WithoutShares", [](TraceCase& c) { c.engine.share_by_client = false; });
  add("NoPrefixCache", [](TraceCase& c) { c.engine.prefix_caching = false; });
  add("NoChunks", [](TraceCase& c) { c.engine.chunked_prefill = false; });
  add("ShortChunks", [](TraceCase& c) { c.engine.long_prefill_tokens = 5; });
  add("BlocksOfOne", [](TraceCase& c) {
    c.fake.capacity.block_tokens = 1;
    c.fake.capacity.num_blocks = 140;
  });
  add("BlocksOfSixteen", [](TraceCase& c) {
    c.fake.capacity.block_tokens = 16;
    c.fake.capacity.num_blocks = 10;
  });
  add("OneSlot", [](TraceCase& c) { c.fake.capacity.max_sequences = 1; });
  add("FewSampleRows", [](TraceCase& c) { c.fake.capacity.max_sample_rows = 3; });
  add("OneTokenSteps", [](TraceCase& c) { c.fake.capacity.max_step_tokens = 1; });
  add("LargePool", [](TraceCase& c) {
    c.fake.capacity.num_blocks = 1000;
    c.fake.capacity.max_sequences = 32;
    c.fake.capacity.max_sample_rows = 64;
    c.fake.capacity.max_step_tokens = 200;
  });
  add("VoidDraws", [](TraceCase& c) { c.fake.void_every = 7; });
  return all;
}

class EngineTraceTest : public testing::TestWithParam<TraceCase> {};

TEST_P(EngineTraceTest, EveryRequestEndsOnceWithTheRightTokens) {
  Trace trace(GetParam());
  trace.run();
  RecordProperty("answered", static_cast<int>(trace.answered()));
  RecordProperty("cancelled", static_cast<int>(trace.cancelled()));
  RecordProperty("preemptions", static_cast<int>(trace.stats().preemptions));
  RecordProperty("prefix_hit_tokens", static_cast<int>(trace.stats().prefix_hits));
}

INSTANTIATE_TEST_SUITE_P(Traces, EngineTraceTest, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

// The traces are only worth something if they reach the hard cases.
TEST(EngineTraceReachTest, TracesPreemptCancelAndHit) {
  TraceCase what = base_case("Reach");
  what.steps = 2000;
  Trace trace(what);
  trace.run();
  EXPECT_GT(trace.stats().preemptions, 50);
  EXPECT_GT(trace.stats().prefix_hits, 1000);
  EXPECT_GT(trace.cancelled(), 20u);
}

}  // namespace
}  // namespace m2
