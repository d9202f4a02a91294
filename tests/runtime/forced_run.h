// Prompts forced through ranks: the best tokens and their logprobs at every position, and how two
// such runs differ. Ranks can be made with a fault planted in them.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "runtime/make_ranks.h"
#include "runtime/rank_group.h"

namespace m2::test {

// What a test may put in the place of the right thing; empty: nothing.
struct Plant {
  std::function<void(Shard&)> shard;  // of every rank
  std::function<std::unique_ptr<Communicator>(std::unique_ptr<Communicator>)> communicator;
};

inline Result<std::vector<RankParts>> make_planted(const ModelConfig& config,
                                                   const Parallelism& parallelism,
                                                   const OpsLimits& limits, const LoadWeights& load,
                                                   const Plant& plant) {
  M2_ASSIGN(auto backend, open_backend({"cpu", 2, parallelism.tensor_parallel}));
  M2_ASSIGN(auto ranks, make_ranks(config, parallelism, limits, load, *backend));
  for (int32_t i = 0; i < parallelism.tensor_parallel; ++i) {
    if (plant.shard) {
      M2_ASSIGN(Shard shard, make_shard(config, parallelism, i));
      plant.shard(shard);
      auto communicator = std::move(ranks[i].communicator);
      M2_ASSIGN(ranks[i], make_rank(config, shard, limits, load, *backend));
      ranks[i].communicator = std::move(communicator);
    }
    if (plant.communicator) {
      ranks[i].communicator = plant.communicator(std::move(ranks[i].communicator));
    }
  }
  return ranks;
}

inline constexpr int32_t kTop = 4;
using Prompt = std::vector<TokenId>;

// Limits for prompts of up to `tokens` tokens, one at a time.
inline OpsLimits forced_limits(const ModelConfig& config, int32_t tokens,
                               DType kv_dtype = DType::kF32) {
  return {.max_step_tokens = tokens,
          .max_sequences = 1,
          .max_sample_rows = tokens,
          .max_model_tokens = tokens,
          .num_blocks = (tokens + 15) / 16,
          .block_tokens = 16,
          .kv_dtype = kv_dtype,
          .real_vocab = config.vocab_size - 3};
}

// Each prompt in one step: kTop tokens a position, and a draw with seed 9 and top_k 5.
inline std::vector<StepResult> force(Result<std::vector<RankParts>> ranks,
                                     const ModelConfig& config, const OpsLimits& limits,
                                     const std::vector<Prompt>& prompts) {
  std::vector<StepResult> results;
  if (!ranks) {
    ADD_FAILURE() << ranks.error().message;
    return results;
  }
  const Capacity capacity = capacity_of(config, limits);
  RankGroup group(std::move(*ranks), capacity);
  for (const Prompt& prompt : prompts) {
    const auto tokens = static_cast<int32_t>(prompt.size()), blocks = (tokens + 15) / 16;
    StepPlan step(capacity);
    step.add_row() = {0, 0, tokens, 0, 0, blocks};
    std::copy(prompt.begin(), prompt.end(), step.add_tokens(tokens).begin());
    int32_t next = blocks;
    for (int32_t& block : step.add_blocks(blocks)) block = --next;
    SamplePlan sample;
    for (int32_t i = 0; i < tokens; ++i) {
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
    const Status status = group.wait(std::chrono::steady_clock::now() + std::chrono::seconds(120),
                                     results.emplace_back());
    EXPECT_TRUE(status) << status.error().message;
    if (!status) break;
  }
  return results;
}

struct Difference {
  int64_t positions = 0;
  int64_t other_top = 0;   // positions whose best token is another, though the reference is sure
  int64_t near_ties = 0;   // positions whose best token is another, where its two best nearly tie
  int64_t other_draw = 0;  // positions whose draw is another
  double largest = 0;      // difference of a logprob, position for position
};

// Two logits nearer than this may change places.
inline constexpr double kTieLogits = 1e-3;

inline Difference compare(const std::vector<StepResult>& one, const std::vector<StepResult>& many) {
  Difference result;
  EXPECT_EQ(one.size(), many.size());
  for (size_t p = 0; p < std::min(one.size(), many.size()); ++p) {
    const StepResult &a = one[p], &b = many[p];
    EXPECT_EQ(a.top_ids.size(), b.top_ids.size());
    if (a.top_ids.size() != b.top_ids.size()) break;
    for (size_t i = 0; i < a.rows.size(); ++i, ++result.positions) {
      const size_t first = i * kTop;
      if (a.top_ids[first] != b.top_ids[first]) {
        const bool tie = a.top_logprobs[first] - a.top_logprobs[first + 1] < kTieLogits;
        ++(tie ? result.near_ties : result.other_top);
      }
      result.other_draw += a.tokens[i] != b.tokens[i] ? 1 : 0;
      for (size_t k = first; k < first + kTop; ++k) {
        result.largest =
            std::max(result.largest, std::abs(double{a.top_logprobs[k]} - b.top_logprobs[k]));
      }
    }
  }
  return result;
}

}  // namespace m2::test
