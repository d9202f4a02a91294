// The step path of the ranks allocates nothing after start-up: every allocation of this program, on
// any thread, is counted while ranks run decode steps with every kind of draw. A program of its
// own, since it replaces operator new.
#include <gtest/gtest.h>

#include "backend/backend.h"
#include "loader/dummy.h"
#include "runtime/make_ranks.h"
#include "runtime/rank_group.h"
#include "tests/allocation_counter.h"

namespace m2 {
namespace {

using test::allocations;

constexpr int32_t kSequences = 8, kPromptTokens = 20, kBlocks = 8;  // blocks of a sequence
constexpr int32_t kWarmSteps = 30, kCountedSteps = 70;

ModelConfig small_shape() {
  ModelConfig config;
  config.hidden_size = 128;
  config.num_layers = 2;
  config.num_heads = 8;
  config.num_kv_heads = 4;
  config.head_dim = 64;
  config.rotary_dim = 32;
  config.expert_width = 256;
  config.num_experts = 8;
  config.experts_per_token = 2;
  config.vocab_size = 600;
  config.max_position_embeddings = 512;
  config.rope_theta = 5e6;
  return config;
}

const OpsLimits kLimits{.max_step_tokens = kSequences * kPromptTokens,
                        .max_sequences = kSequences,
                        .max_sample_rows = 2 * kSequences,
                        .max_model_tokens = 128,
                        .num_blocks = kSequences * kBlocks,
                        .block_tokens = 16,
                        .kv_dtype = DType::kF32,
                        .real_vocab = 590};

// All sequences' prompts in step 0, one token of each from the device afterwards.
void fill_step(StepPlan& step, int32_t index) {
  step.clear();
  step.set_step(index);
  const int32_t tokens = index == 0 ? kPromptTokens : 1;
  const int32_t context = index == 0 ? 0 : kPromptTokens + index - 1;
  for (int32_t slot = 0; slot < kSequences; ++slot) {
    step.add_row() = {slot, slot * tokens, tokens, context, slot * kBlocks, kBlocks};
    for (TokenId& token : step.add_tokens(tokens)) token = index == 0 ? 7 + slot : kTokenFromDevice;
    int32_t block = slot * kBlocks;
    for (int32_t& id : step.add_blocks(kBlocks)) id = block++;
  }
}

// Greedy, top_k, top_p, unrestricted, penalties, logprobs: one kind a slot.
void fill_sample(SamplePlan& sample, int32_t index) {
  sample.clear();
  sample.step = index;
  const int32_t tokens = index == 0 ? kPromptTokens : 1;
  for (int32_t slot = 0; slot < kSequences; ++slot) {
    SampleRow& row = sample.rows.emplace_back();
    row.slot = slot;
    row.token_index = slot * tokens + tokens - 1;
    row.position = kPromptTokens + index;
    row.seed = 100 + slot;
    row.temperature = slot == 0 ? 0.0f : 1.0f;
    row.top_k = slot == 1 || slot == 4 ? 40 : 0;
    row.top_p = slot == 2 ? 0.9f : 1.0f;
    if (slot == 4) row.num_logprobs = 5;
    if (slot == 5) row.min_p = 0.1f;
    if (slot != 6) continue;
    row.repetition_penalty = 1.2f;
    row.history = {static_cast<int32_t>(sample.ids.size()), 2};
    sample.ids.push_back(9);
    sample.ids.push_back(index);
  }
}

int64_t allocations_of(const Parallelism& parallelism, Backend& backend, DType kv_dtype) {
  const ModelConfig config = small_shape();
  OpsLimits limits = kLimits;
  limits.kv_dtype = kv_dtype;
  const LoadWeights load = [](const ModelConfig& model, const Shard& shard, WeightBlock& block) {
    return fill_dummy(model, shard, 1, 1, block);
  };
  const Capacity capacity = capacity_of(config, limits);
  StepPlan steps[2] = {StepPlan(capacity), StepPlan(capacity)};
  SamplePlan samples[2];
  // After the plans: it ends first, and the last step may still be under way then.
  auto ranks = make_ranks(config, parallelism, limits, load, backend);
  EXPECT_TRUE(ranks) << ranks.error().message;
  if (!ranks) return -1;
  RankGroup group(std::move(*ranks), capacity);
  StepResult result;
  int64_t before = 0;
  // As the engine: step i is queued before step i - 1 is waited for.
  for (int32_t i = 0; i <= kWarmSteps + kCountedSteps; ++i) {
    if (i == kWarmSteps) before = allocations;
    fill_step(steps[i % 2], i);
    group.forward(steps[i % 2]);
    if (i > 0) {
      const Deadline deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
      if (!group.wait(deadline, result)) return -1;
    }
    fill_sample(samples[i % 2], i);
    group.sample(samples[i % 2]);
  }
  return allocations - before;
}

int64_t on_the_cpu(const Parallelism& parallelism) {
  const auto backend = std::move(*open_backend({"cpu", 2, parallelism.tensor_parallel}));
  return allocations_of(parallelism, *backend, DType::kF32);
}

TEST(RankAllocationTest, OneRank) { EXPECT_EQ(on_the_cpu({1, false}), 0); }
TEST(RankAllocationTest, TwoRanks) { EXPECT_EQ(on_the_cpu({2, false}), 0); }
TEST(RankAllocationTest, FourRanksWithWholeExperts) { EXPECT_EQ(on_the_cpu({4, true}), 0); }

// The host's memory, with a GPU; the GPU's own is watched by GpuRuntime.TakesNoMemoryAfterTheStart.
TEST(RankAllocationTest, OnAGpu) {
  const auto backend = open_backend({.device = "cuda"});
  if (!backend) GTEST_SKIP() << "needs an NVIDIA GPU: " << backend.error().message;
  EXPECT_EQ(allocations_of({1, false}, **backend, DType::kBF16), 0);
}

}  // namespace
}  // namespace m2
