// Every layout of ranks against one rank: over forced prompts the best token at every position is
// the same and logprobs agree. And the proof of the proof: with a fault planted they do not.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "loader/checkpoint.h"
#include "loader/dummy.h"
#include "tests/runtime/forced_run.h"

namespace m2::test {
namespace {

constexpr uint64_t kSeed = 4;
constexpr double kTolerance = 1e-3;  // of a logprob

// Slices start inside the blocks of 128, and the vocabulary does not divide.
ModelConfig small_shape(int32_t kv_heads) {
  ModelConfig config;
  config.hidden_size = 256;
  config.num_layers = 2;
  config.num_heads = 16;
  config.num_kv_heads = kv_heads;
  config.head_dim = 64;
  config.rotary_dim = 32;
  config.expert_width = 512;
  config.num_experts = 8;
  config.experts_per_token = 3;
  config.vocab_size = 330;
  config.max_position_embeddings = 512;
  config.rope_theta = 5e6;
  return config;
}

// The heads and the experts of the real model; eight ranks get 192 columns of each expert.
ModelConfig real_widths() {
  ModelConfig config = small_shape(8);
  config.hidden_size = 512;
  config.num_heads = 48;
  config.head_dim = 128;
  config.rotary_dim = 64;
  config.expert_width = 1536;
  config.num_experts = 16;
  config.experts_per_token = 4;
  config.vocab_size = 1000;
  return config;
}

Status fill(const ModelConfig& config, const Shard& shard, WeightBlock& block) {
  return fill_dummy(config, shard, kSeed, 2, block);
}

std::vector<Prompt> some_prompts(const ModelConfig& config, int32_t tokens) {
  std::vector<Prompt> prompts(1);
  for (int32_t i = 0, token = 7; i < tokens; ++i) {
    prompts[0].push_back(token = (token * 31 + 11) % config.vocab_size);
  }
  return prompts;
}

std::vector<StepResult> run(const ModelConfig& config, const Parallelism& parallelism,
                            const Plant& plant = {}, const LoadWeights& load = fill,
                            DType kv_dtype = DType::kF32) {
  constexpr int32_t kTokens = 24;
  const OpsLimits limits = forced_limits(config, kTokens, kv_dtype);
  return force(make_planted(config, parallelism, limits, load, plant), config, limits,
               some_prompts(config, kTokens));
}

void expect_same(const Difference& found) {
  EXPECT_GT(found.positions, 0);
  EXPECT_EQ(found.other_top, 0);
  EXPECT_EQ(found.near_ties, 0);
  EXPECT_EQ(found.other_draw, 0);
  EXPECT_LT(found.largest, kTolerance);
}

struct Layout {
  int32_t ranks;
  bool experts;
};

std::string name_of(const ::testing::TestParamInfo<Layout>& info) {
  return std::to_string(info.param.ranks) + "Ranks" + (info.param.experts ? "WholeExperts" : "");
}

const auto kLayouts = ::testing::Values(Layout{2, false}, Layout{4, false}, Layout{8, false},
                                        Layout{2, true}, Layout{4, true}, Layout{8, true});

class EveryLayout : public ::testing::TestWithParam<Layout> {
 protected:
  void check(const ModelConfig& config, DType kv_dtype = DType::kF32) {
    const Layout layout = GetParam();
    expect_same(compare(run(config, {1, false}, {}, fill, kv_dtype),
                        run(config, {layout.ranks, layout.experts}, {}, fill, kv_dtype)));
  }
};

TEST_P(EveryLayout, SmallShape) { check(small_shape(8)); }
TEST_P(EveryLayout, KvHeadsHeldTwice) { check(small_shape(2)); }
TEST_P(EveryLayout, RealWidths) { check(real_widths()); }
// Sums in another order can round to another key: the next code of FP8 is up to an eighth away.
TEST_P(EveryLayout, KeysAndValuesInBf16) { check(small_shape(8), DType::kBF16); }
TEST_P(EveryLayout, KeysAndValuesInFp8) { check(small_shape(8), DType::kF8E4M3); }

// The twenty prompts of the oracle (tests/golden/logits/README.md has the format); their tokens.
std::vector<Prompt> golden_prompts() {
  std::ifstream file(M2_SOURCE_DIR "/tests/golden/logits/pocket.bin", std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  size_t at = 8;
  const auto next = [&] {
    uint32_t value = 0;
    if (at + sizeof(value) <= bytes.size()) std::memcpy(&value, bytes.data() + at, sizeof(value));
    at += sizeof(value);
    return value;
  };
  next();  // width of the logits
  const uint32_t count = next(), top = next(), columns = next();
  at += columns * 4;
  std::vector<Prompt> prompts;
  for (uint32_t p = 0; p < count && at < bytes.size(); ++p) {
    Prompt& prompt = prompts.emplace_back(next());
    for (TokenId& token : prompt) token = static_cast<TokenId>(next());
    at += prompt.size() * (8 * top + 4 * columns + 8);
  }
  return prompts;
}

// A trained model, from its files: computed once by one rank.
class Pocket {
 public:
  static const Pocket& get() {
    static const Pocket pocket;
    return pocket;
  }
  bool there() const { return checkpoint_.has_value() && !prompts_.empty(); }
  const std::vector<StepResult>& one() const { return one_; }
  std::vector<StepResult> run(const Parallelism& parallelism) const {
    size_t longest = 0;
    for (const Prompt& prompt : prompts_) longest = std::max(longest, prompt.size());
    const OpsLimits limits = forced_limits(config_, static_cast<int32_t>(longest));
    const LoadWeights load = [&](const ModelConfig&, const Shard& shard, WeightBlock& block) {
      return checkpoint_->load(shard, 1, block);
    };
    return force(make_planted(config_, parallelism, limits, load, {}), config_, limits, prompts_);
  }
  size_t num_prompts() const { return prompts_.size(); }

 private:
  Pocket() : prompts_(golden_prompts()) {
    const std::string folder = M2_SOURCE_DIR "/models/pocket";
    auto config = load_config(folder);
    if (!config) return;
    config_ = *config;
    checkpoint_ = Checkpoint::open(folder, config_);
    if (there()) one_ = run({1, false});
  }

  std::vector<Prompt> prompts_;
  ModelConfig config_;
  Result<Checkpoint> checkpoint_ = tl::unexpected(Error{});
  std::vector<StepResult> one_;
};

TEST_P(EveryLayout, TwentyPromptsOfTheTrainedModel) {
  const Pocket& pocket = Pocket::get();
  if (!pocket.there()) GTEST_SKIP() << "models/pocket or tests/golden/logits is not there";
  EXPECT_EQ(pocket.num_prompts(), 20u);
  const Difference found =
      compare(pocket.one(), pocket.run({GetParam().ranks, GetParam().experts}));
  EXPECT_GT(found.positions, 1000);
  EXPECT_EQ(found.other_top, 0);
  EXPECT_LE(found.near_ties, 2);
  EXPECT_LE(found.other_draw, 2);
  std::printf("%d ranks%s: %ld positions, %ld near ties, largest difference of a logprob %.1e\n",
              GetParam().ranks, GetParam().experts ? ", whole experts" : "", long(found.positions),
              long(found.near_ties), found.largest);
}

INSTANTIATE_TEST_SUITE_P(Layouts, EveryLayout, kLayouts, name_of);

// Hands everything to another communicator, but lets `change` have a word at sums.
class Meddling final : public Communicator {
 public:
  // True when it has done the sum itself.
  using Change = std::function<bool(Communicator& real, float* values, size_t count)>;

  Meddling(std::unique_ptr<Communicator> real, Change change)
      : real_(std::move(real)), change_(std::move(change)) {}
  int32_t rank() const override { return real_->rank(); }
  int32_t size() const override { return real_->size(); }
  void all_reduce_sum(float* values, size_t count) override {
    if (!change_(*real_, values, count)) real_->all_reduce_sum(values, count);
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
  const Change change_;
};

Plant meddle(const Meddling::Change& change) {
  return {.shard = nullptr, .communicator = [change](std::unique_ptr<Communicator> real) {
            return std::make_unique<Meddling>(std::move(real), change);
          }};
}

Plant cut_wrong(const std::function<void(Shard&)>& change) {
  return {.shard = change, .communicator = nullptr};
}

void expect_caught(const Difference& found) {
  EXPECT_GT(found.positions, 0);
  EXPECT_GT(found.largest, 10 * kTolerance) << "the fault does not show";
}

// The sums of squares are the only message of two floats a token.
constexpr size_t kSquares = 2 * 24;

class Caught : public ::testing::Test {
 protected:
  void check(const ModelConfig& config, const Parallelism& parallelism, const Plant& plant,
             const LoadWeights& load = fill) {
    const auto one = run(config, {1, false});
    expect_same(compare(one, run(config, parallelism)));
    expect_caught(compare(one, run(config, parallelism, plant, load)));
  }
};

TEST_F(Caught, TheNormOfQAndKIsNotSummedOverRanks) {
  check(small_shape(8), {4, false},
        meddle([](Communicator&, float*, size_t count) { return count == kSquares; }));
}

TEST_F(Caught, PartialSumsAreNotSummedOverRanks) {
  const size_t partial = 24 * small_shape(8).hidden_size;
  check(small_shape(8), {2, false},
        meddle([=](Communicator&, float*, size_t count) { return count == partial; }));
}

// Two ranks hold each KV head: its squares come twice, and so must its width.
TEST_F(Caught, KvHeadsCountTwiceInTheNorm) {
  check(small_shape(4), {8, false}, meddle([](Communicator& real, float* values, size_t count) {
          if (count != kSquares) return false;
          real.all_reduce_sum(values, count);
          for (size_t i = 1; i < count; i += 2) values[i] *= 2;
          return true;
        }));
}

TEST_F(Caught, AKvHeadIsOnARankThatDoesNotAskIt) {
  check(small_shape(8), {8, false}, cut_wrong([](Shard& shard) {
          if (shard.rank == 1) shard.kv_head_begin = 0;
        }));
}

TEST_F(Caught, AnExpertRunsOnTwoRanks) {
  check(small_shape(8), {4, true}, cut_wrong([](Shard& shard) {
          if (shard.rank != 1) return;
          --shard.expert_begin;
          ++shard.num_experts;
        }));
}

TEST_F(Caught, ARanksExpertColumnsAreAnothers) {
  check(real_widths(), {8, false}, cut_wrong([](Shard& shard) {
          if (shard.rank == 3) shard.expert_column_begin -= 64;
        }));
}

// The scales of the rows, or of the columns, one tile beside the right ones.
Status fill_with_scales_off(const std::string& ending, int64_t rows, int64_t columns,
                            const ModelConfig& config, const Shard& shard, WeightBlock& block) {
  M2_TRY(fill(config, shard, block));
  for (TensorSlice slice : tensor_slices(config, shard)) {
    if (!slice.name.ends_with(ending)) continue;
    // At the end of the tensor there is nothing beyond.
    slice.row_begin += slice.row_begin + slice.row_count < slice.rows ? rows : -rows;
    slice.column_begin += slice.column_begin + slice.column_count < slice.columns ? columns : 0;
    fill_dummy_scales(slice, kSeed, reinterpret_cast<float*>(block.base() + slice.scale_offset));
  }
  return {};
}

TEST_F(Caught, AScaleRowIsOffByOneTile) {
  const auto load = [](const ModelConfig& config, const Shard& shard, WeightBlock& block) {
    return fill_with_scales_off("w1.weight", kScaleTile, 0, config, shard, block);
  };
  check(real_widths(), {8, false}, {}, load);
}

TEST_F(Caught, AScaleColumnIsOffByOneTile) {
  const auto load = [](const ModelConfig& config, const Shard& shard, WeightBlock& block) {
    return fill_with_scales_off("w2.weight", 0, kScaleTile, config, shard, block);
  };
  check(real_widths(), {8, false}, {}, load);
}

}  // namespace
}  // namespace m2::test
