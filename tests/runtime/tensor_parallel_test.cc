// Every layout of ranks against one rank: over forced prompts the best token at every position is
// the same and logprobs agree.
#include <gtest/gtest.h>

#include <cmath>

#include "backend/backend.h"
#include "loader/dummy.h"
#include "runtime/make_ranks.h"
#include "runtime/rank_group.h"

namespace m2 {
namespace {

constexpr int32_t kTokens = 24, kTop = 4;

ModelConfig shape(int32_t kv_heads) {
  ModelConfig config;
  config.hidden_size = 256;
  config.num_layers = 2;
  config.num_heads = 16;
  config.num_kv_heads = kv_heads;
  config.head_dim = 64;
  config.rotary_dim = 32;
  config.expert_width = 512;  // 64 a rank of eight: slices start inside the blocks of 128
  config.num_experts = 8;
  config.experts_per_token = 3;
  config.vocab_size = 330;  // does not divide
  config.max_position_embeddings = 512;
  config.rope_theta = 5e6;
  return config;
}

Status fill(const ModelConfig& config, const Shard& shard, HostMemory& memory) {
  fill_dummy(config, shard, 4, 1, memory.data());
  return {};
}

const OpsLimits kLimits{.max_step_tokens = 64,
                        .max_sequences = 2,
                        .max_sample_rows = 64,
                        .max_model_tokens = 64,
                        .num_blocks = 8,
                        .block_tokens = 16,
                        .kv_dtype = DType::kF32,
                        .real_vocab = 325};

// Hands everything to another communicator, but leaves out the sums of `count` floats.
class Forgetful final : public Communicator {
 public:
  Forgetful(std::unique_ptr<Communicator> real, size_t count)
      : real_(std::move(real)), count_(count) {}
  int32_t rank() const override { return real_->rank(); }
  int32_t size() const override { return real_->size(); }
  void all_reduce_sum(float* values, size_t count) override {
    if (count != count_) real_->all_reduce_sum(values, count);
  }
  void broadcast(void* data, size_t bytes, int32_t root) override {
    real_->broadcast(data, bytes, root);
  }
  void all_gather(const void* mine, size_t bytes, void* all) override {
    real_->all_gather(mine, bytes, all);
  }
  void barrier() override { real_->barrier(); }
  void abort() override { real_->abort(); }
  Status status() const override { return real_->status(); }

 private:
  const std::unique_ptr<Communicator> real_;
  const size_t count_;
};

// One prompt, whole; the best tokens and their logprobs at every position.
StepResult run(const ModelConfig& config, const Parallelism& parallelism, size_t forget = 0) {
  auto backend = std::move(*open_backend({"cpu", 2, parallelism.tensor_parallel}));
  auto ranks = make_ranks(config, parallelism, kLimits, fill, *backend);
  if (!ranks) {
    ADD_FAILURE() << ranks.error().message;
    return {};
  }
  if (forget > 0) {
    for (RankParts& rank : *ranks) {
      rank.communicator = std::make_unique<Forgetful>(std::move(rank.communicator), forget);
    }
  }
  const Capacity capacity = capacity_of(config, kLimits);
  RankGroup group(std::move(*ranks), capacity);
  StepPlan step(capacity);
  step.add_row() = {0, 0, kTokens, 0, 0, 2};
  int32_t token = 7;
  for (TokenId& id : step.add_tokens(kTokens)) id = token = (token * 31 + 11) % config.vocab_size;
  const auto blocks = step.add_blocks(2);
  blocks[0] = 5, blocks[1] = 1;
  SamplePlan sample;
  for (int32_t i = 0; i < kTokens; ++i) {
    SampleRow row;
    row.token_index = i;
    row.position = i + 1;
    row.num_logprobs = kTop;
    row.top_k = 5;
    row.seed = 9;
    sample.rows.push_back(row);
  }
  group.forward(step);
  group.sample(sample);
  StepResult result;
  const Status status =
      group.wait(std::chrono::steady_clock::now() + std::chrono::seconds(60), result);
  EXPECT_TRUE(status) << status.error().message;
  return result;
}

double largest_difference(const StepResult& a, const StepResult& b) {
  double largest = 0;
  for (size_t i = 0; i < a.top_logprobs.size(); ++i) {
    largest = std::max(largest, std::abs(double{a.top_logprobs[i]} - b.top_logprobs[i]));
  }
  return largest;
}

struct Layout {
  int32_t ranks;
  bool experts;
  int32_t kv_heads;
};

class TensorParallel : public ::testing::TestWithParam<Layout> {};

TEST_P(TensorParallel, EqualsOneRank) {
  const ModelConfig config = shape(GetParam().kv_heads);
  const StepResult one = run(config, {1, false});
  const StepResult many = run(config, {GetParam().ranks, GetParam().experts});
  ASSERT_EQ(one.top_ids.size(), size_t{kTokens * kTop});
  ASSERT_EQ(many.top_ids.size(), one.top_ids.size());
  for (int32_t i = 0; i < kTokens; ++i) {
    EXPECT_EQ(many.top_ids[i * kTop], one.top_ids[i * kTop]) << "position " << i;
  }
  EXPECT_LT(largest_difference(one, many), 1e-4);
  EXPECT_EQ(many.tokens, one.tokens) << "draws";
}

INSTANTIATE_TEST_SUITE_P(Layouts, TensorParallel,
                         ::testing::Values(Layout{2, false, 8}, Layout{4, false, 8},
                                           Layout{8, false, 8}, Layout{2, true, 8},
                                           Layout{4, true, 8}, Layout{8, true, 8},
                                           Layout{4, false, 2}, Layout{8, false, 2}),
                         [](const auto& info) {
                           return std::to_string(info.param.ranks) + "Ranks" +
                                  (info.param.experts ? "WholeExperts" : "") +
                                  std::to_string(info.param.kv_heads) + "KvHeads";
                         });

TEST(TensorParallelFaults, TheNormOfQAndKSpansAllRanks) {
  const ModelConfig config = shape(8);
  const StepResult one = run(config, {1, false});
  // The sums of squares are the only message of two floats a token.
  EXPECT_GT(largest_difference(one, run(config, {4, false}, 2 * kTokens)), 1e-2);
}

TEST(TensorParallelFaults, PartialSumsCrossRanks) {
  const ModelConfig config = shape(8);
  const StepResult one = run(config, {1, false});
  EXPECT_GT(largest_difference(one, run(config, {2, false}, kTokens * config.hidden_size)), 1e-2);
}

}  // namespace
}  // namespace m2
