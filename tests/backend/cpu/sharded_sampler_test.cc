// Ranks with a slice of the vocabulary each draw what one sampler of the whole vocabulary draws.
#include "backend/cpu/sharded_sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <thread>

#include "model/config.h"
#include "model/shard.h"
#include "parallel/local_communicator.h"

namespace m2 {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr int32_t kVocab = 3000, kRealVocab = 2990, kMaxRows = 64;

// Counts what crosses ranks.
class Counting final : public Communicator {
 public:
  Counting(std::unique_ptr<Communicator> real, size_t& bytes)
      : real_(std::move(real)), bytes_(bytes) {}
  int32_t rank() const override { return real_->rank(); }
  int32_t size() const override { return real_->size(); }
  void all_reduce_sum(float* values, size_t count) override {
    real_->all_reduce_sum(values, count);
  }
  void broadcast(void* data, size_t bytes, int32_t root) override {
    real_->broadcast(data, bytes, root);
  }
  void all_gather(const void* mine, size_t bytes, void* all) override {
    bytes_ += bytes;
    real_->all_gather(mine, bytes, all);
  }
  void barrier() override { real_->barrier(); }
  void abort() override { real_->abort(); }
  Status status() const override { return real_->status(); }

 private:
  const std::unique_ptr<Communicator> real_;
  size_t& bytes_;
};

// Many rows at once: each with its request and logits.
struct Rows {
  std::vector<SampleRequest> requests;
  std::vector<std::vector<float>> logits;  // [kVocab] each

  void add(const SampleRequest& request, std::vector<float> row) {
    requests.push_back(request);
    requests.back().slot = static_cast<int32_t>(requests.size() - 1);
    logits.push_back(std::move(row));
  }
};

SampleOutput prepared_output(const Rows& rows) {
  SampleOutput out;
  int32_t top = 0;
  const Sampler sampler(plain_kernels(), kRealVocab);
  for (const SampleRequest& request : rows.requests) {
    SampledToken& token = out.rows.emplace_back();
    token.top_begin = top;
    token.top_count = sampler.top_count(request);
    top += token.top_count;
  }
  out.top_ids.resize(top);
  out.top_logprobs.resize(top);
  return out;
}

// Every slot has said the ids 3, 3, 4 after a prompt of 5 and the last real one.
PenaltyCounts said(int64_t count = kVocab, int64_t first = 0) {
  PenaltyCounts counts(count, HostMemory(PenaltyCounts::bytes(kMaxRows, count)), first);
  const int32_t history[] = {5, kRealVocab - 1, 3, 3, 4};
  SampleRequest request;
  request.history = history;
  request.history_prompt = 2;
  for (request.slot = 0; request.slot < kMaxRows; ++request.slot) counts.update(request);
  return counts;
}

SampleOutput sample_alone(const Rows& rows) {
  SampleOutput out = prepared_output(rows);
  PenaltyCounts counts = said();
  const Sampler sampler(plain_kernels(), kRealVocab);
  Sampler::Scratch scratch(kVocab);
  for (size_t i = 0; i < rows.requests.size(); ++i) {
    const SampleRequest& request = rows.requests[i];
    const auto own = wants_counts(request) ? counts.of(request.slot) : std::span<const uint16_t>();
    SampledToken& token = out.rows[i];
    sampler.sample(request, rows.logits[i].data(), own, scratch, token,
                   out.top_ids.data() + token.top_begin, out.top_logprobs.data() + token.top_begin);
  }
  return out;
}

struct Sharded {
  std::vector<SampleOutput> of_rank;
  size_t bytes = 0;  // that the first rank sent
};

void run_rank(const Rows& rows, const Shard& shard, Communicator& communicator, SampleOutput& out) {
  out = prepared_output(rows);
  std::vector<float> logits;
  for (const auto& row : rows.logits) {
    logits.insert(logits.end(), row.begin() + shard.vocab_begin,
                  row.begin() + shard.vocab_begin + shard.vocab_count);
  }
  PenaltyCounts counts = said(shard.vocab_count, shard.vocab_begin);
  WorkerPool pool(2);
  std::vector<Sampler::Scratch> scratch;
  for (int i = 0; i < 2; ++i) scratch.emplace_back(kVocab);
  ShardedSampler sampler(plain_kernels(), shard, kRealVocab, kMaxRows);
  ShardedSampler::Step step{.requests = rows.requests,
                            .logits = logits.data(),
                            .counts = counts,
                            .scratch = scratch,
                            .pool = pool,
                            .communicator = communicator,
                            .out = out};
  sampler.sample(step);
}

Shard shard_of(int32_t ranks, int32_t rank) {
  ModelConfig config;
  config.hidden_size = 128;
  config.num_layers = 1;
  config.num_heads = 8;
  config.num_kv_heads = 8;
  config.head_dim = 128;
  config.expert_width = 512;
  config.num_experts = 8;
  config.experts_per_token = 2;
  config.vocab_size = kVocab;
  return make_shard(config, {ranks, true}, rank).value();
}

Sharded sample_sharded(const Rows& rows, int32_t ranks) {
  Sharded result;
  result.of_rank.resize(ranks);
  auto communicators = LocalCommunicator::make(ranks);
  std::vector<size_t> bytes(ranks);
  std::vector<std::thread> threads;
  for (int32_t rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      Counting counting(std::move(communicators[rank]), bytes[rank]);
      run_rank(rows, shard_of(ranks, rank), counting, result.of_rank[rank]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  result.bytes = bytes[0];
  return result;
}

void expect_equal(const Rows& rows, const SampleOutput& one, const SampleOutput& many,
                  int32_t ranks) {
  for (size_t i = 0; i < rows.requests.size(); ++i) {
    SCOPED_TRACE("row " + std::to_string(i) + " on " + std::to_string(ranks) + " ranks");
    EXPECT_EQ(many.rows[i].token, one.rows[i].token);
    if (rows.requests[i].num_logprobs < 0) continue;
    EXPECT_EQ(many.rows[i].rank, one.rows[i].rank);
    if (std::isinf(one.rows[i].logprob)) {
      EXPECT_EQ(many.rows[i].logprob, one.rows[i].logprob);
    } else {
      EXPECT_NEAR(many.rows[i].logprob, one.rows[i].logprob, 1e-4);
    }
  }
  EXPECT_EQ(many.top_ids, one.top_ids);
  for (size_t i = 0; i < one.top_logprobs.size(); ++i) {
    if (one.top_logprobs[i] == many.top_logprobs[i]) continue;  // infinities too
    EXPECT_NEAR(many.top_logprobs[i], one.top_logprobs[i], 1e-4) << i;
  }
}

// On every number of ranks; and every rank says the same to the last bit.
void check(const Rows& rows) {
  const SampleOutput one = sample_alone(rows);
  for (const int32_t ranks : {2, 4, 8}) {
    const Sharded sharded = sample_sharded(rows, ranks);
    expect_equal(rows, one, sharded.of_rank[0], ranks);
    for (const SampleOutput& other : sharded.of_rank) {
      for (size_t i = 0; i < rows.requests.size(); ++i) {
        EXPECT_EQ(other.rows[i].token, sharded.of_rank[0].rows[i].token);
        EXPECT_EQ(other.rows[i].logprob, sharded.of_rank[0].rows[i].logprob);
      }
      EXPECT_EQ(other.top_ids, sharded.of_rank[0].top_ids);
      EXPECT_EQ(other.top_logprobs, sharded.of_rank[0].top_logprobs);
    }
  }
}

class Random {
 public:
  std::vector<float> logits(float deviation) {
    std::normal_distribution<float> normal(0, deviation);
    std::vector<float> row(kVocab);
    for (float& logit : row) logit = normal(generator_);
    return row;
  }
  template <typename T>
  T one_of(std::initializer_list<T> values) {
    return *(values.begin() + generator_() % values.size());
  }
  int32_t id() { return static_cast<int32_t>(generator_() % kVocab); }
  uint32_t bits() { return static_cast<uint32_t>(generator_()); }

  SampleRequest request(int32_t position) {
    SampleRequest r;
    r.position = position;
    r.seed = generator_();
    r.temperature = one_of({0.0f, 0.3f, 1.0f, 2.0f});
    r.top_k = one_of({0, 0, 1, 40, 256, 257, 2990});
    r.top_p = one_of({1.0f, 0.95f, 0.5f, 0.01f});
    r.min_p = one_of({0.0f, 0.0f, 0.05f, 0.9f});
    r.repetition_penalty = one_of({1.0f, 1.0f, 1.3f});
    r.presence_penalty = one_of({0.0f, 0.0f, 1.5f});
    r.frequency_penalty = one_of({0.0f, 0.0f, -0.7f});
    r.num_logprobs = one_of({-1, 0, 5, 20, 300});
    return r;
  }

 private:
  std::mt19937_64 generator_{7};
};

TEST(ShardedSampler, DrawsWhatOneSamplerDraws) {
  Random random;
  for (int round = 0; round < 8; ++round) {
    Rows rows;
    for (int32_t i = 0; i < 40; ++i) {
      rows.add(random.request(100 * round + i), random.logits(random.one_of({0.1f, 2.0f, 8.0f})));
    }
    check(rows);
  }
}

TEST(ShardedSampler, RestrictsEverySlice) {
  Random random;
  const int32_t banned[] = {0, 1, 400, 2000, kRealVocab - 1};
  const int32_t bias_ids[] = {7, 1500, 2900};
  const float bias[] = {30, -4, 3};
  const int32_t allowed[] = {12, 13, 999, 2980, kVocab - 1};
  const int32_t asked[] = {0, kRealVocab - 1, kRealVocab, 77};
  std::vector<uint32_t> mask((kVocab + 31) / 32);
  for (uint32_t& word : mask) word = random.bits() & random.bits() & random.bits();
  Rows rows;
  for (int32_t i = 0; i < kMaxRows; ++i) {
    SampleRequest request = random.request(i);
    if (i % 2) request.banned = banned;
    if (i % 3 == 0) request.bias_ids = bias_ids, request.bias_values = bias;
    if (i % 5 == 0) request.allowed = allowed;
    if (i % 7 == 0) request.mask = mask.data();
    if (i % 4 == 0) request.logprob_ids = asked;
    if (i % 11 == 0) request.draw = false, request.target = random.id();
    rows.add(request, random.logits(4));
  }
  check(rows);
}

TEST(ShardedSampler, OddLogits) {
  Random random;
  std::vector<float> ties(kVocab, 1.0f), nothing(kVocab, kNan), one(kVocab, -kInfinity);
  one[2500] = 3;
  std::vector<float> broken = random.logits(3);
  broken[17] = kNan, broken[2700] = kInfinity, broken[2995] = 100;  // the last is no real id
  const int32_t no_id[] = {kVocab - 1};
  Rows rows;
  for (int32_t i = 0; i < 6; ++i) {
    for (const auto& logits : {ties, nothing, one, broken}) {
      SampleRequest request = random.request(i);
      request.temperature = i < 2 ? 0.0f : 0.8f;
      request.num_logprobs = 4;
      if (i == 5) request.allowed = no_id;  // nothing may be said
      rows.add(request, logits);
    }
  }
  check(rows);
}

// What is exchanged is small for all but rows whose draw needs the whole row.
TEST(ShardedSampler, SendsSummariesWhereTheyDecide) {
  Random random;
  const auto bytes = [&](float temperature, int32_t top_k, float top_p, int32_t logprobs) {
    Rows rows;
    SampleRequest request;
    request.temperature = temperature;
    request.top_k = top_k;
    request.top_p = top_p;
    request.num_logprobs = logprobs;
    rows.add(request, random.logits(6));
    return sample_sharded(rows, 2).bytes;
  };
  const size_t slice = kVocab / 2 * sizeof(float);
  EXPECT_LE(bytes(0, 0, 1, -1), 64u) << "greedy";
  EXPECT_LE(bytes(1, 40, 0.95f, -1), 64u + 40 * 8) << "the model's own defaults";
  EXPECT_LE(bytes(1, 256, 1, -1), 64u + 256 * 8);
  EXPECT_LE(bytes(1, 0, 0.9f, -1), 64u + 256 * 8) << "few tokens hold so much";
  EXPECT_LE(bytes(0, 0, 1, 20), 160u + 20 * 8) << "with logprobs";
  EXPECT_GE(bytes(1, 0, 1, -1), slice) << "any token may be drawn";
  EXPECT_GE(bytes(1, 300, 1, -1), slice);
}

}  // namespace
}  // namespace m2
