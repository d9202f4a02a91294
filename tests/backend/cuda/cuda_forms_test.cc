// Every form of the kernels, at the smallest shapes and steps that take it: small enough for an
// emulated GPU (tests/backend/cuda/emulator). Steps are compared with the CPU's, token by token.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <tuple>

#include "tests/backend/cpu/reference_ops.h"
#include "tests/backend/cuda/compare_logits.h"
#include "tests/backend/cuda/gpu.h"

namespace m2::test {
namespace {

constexpr int32_t kBlocks = 96;

double tolerance_of(DType kv_dtype) {
  return kv_dtype == DType::kF8E4M3 ? kFp8Tolerance : kTolerance;
}

// Both experts work on all tokens, so that no choice turns on a rounding.
ModelConfig tiny() {
  ModelConfig config = small_config();
  config.num_experts = config.experts_per_token = 2;
  return config;
}

// Steps of a few tokens have kernels of their own, experts bulk copies, products parts, and six
// query heads share a KV head, as in the real model.
ModelConfig every_kernel() {
  ModelConfig config = tiny();
  config.hidden_size = 512;
  config.num_heads = 12;
  config.expert_width = 256;
  return config;
}

// Of one layer, as narrow as those kernels take it.
ModelConfig few_served() {
  ModelConfig config = tiny();
  config.num_layers = 1;
  config.num_heads = 4;
  config.expert_width = 256;
  return config;
}

class CudaForms : public ::testing::Test {
 protected:
  void SetUp() override { M2_NEEDS_GPU(); }

  void make(const ModelConfig& config, int32_t num_tokens, DType kv_dtype = DType::kF32) {
    OpsLimits limits = small_limits(config);
    limits.num_blocks = kBlocks;
    limits.kv_dtype = kv_dtype;
    const Model model = dummy_model(config, 3);
    tokens_ = some_tokens(num_tokens, config.vocab_size, 1);
    oracle_ = Runner(model, limits).sequence(tokens_, num_tokens);
    cuda_ = std::make_unique<Runner>(model, gpu_ops(config, model.shard, limits));
  }
  // The tokens from `context` on; what is before them lies in the slot's blocks.
  Piece piece(int32_t slot, int32_t context, int32_t count) const {
    const auto begin = tokens_.begin() + context;
    Piece made{{begin, begin + count}, context, {}, slot};
    const int32_t blocks = kBlocks / kSlots;
    for (int32_t i = 0; i < blocks; ++i) made.blocks.push_back((slot + 1) * blocks - 1 - i);
    return made;
  }
  void expect_near(const std::vector<Piece>& pieces, double tolerance = kTolerance) {
    std::vector<Logits> want;
    for (const Piece& p : pieces) {
      const auto begin = oracle_.begin() + p.context;
      want.insert(want.end(), begin, begin + std::ssize(p.tokens));
    }
    const LogitComparison result = compare_logits(cuda_->step(pieces), want, tolerance);
    EXPECT_TRUE(result.over.empty())
        << result.over.size() << " of " << want.size() << " tokens, largest " << result.largest;
    EXPECT_TRUE(result.wrong_top.empty());
  }
  // One sequence by chunks: what the kernels of one size leave in the cache those of another read.
  void expect_chunks(const std::vector<int32_t>& chunks, double tolerance = kTolerance) {
    int32_t context = 0;
    for (const int32_t count : chunks) {
      SCOPED_TRACE(std::to_string(count) + " tokens after " + std::to_string(context));
      expect_near({piece(0, context, count)}, tolerance);
      context += count;
    }
  }

  // Sequences that bring prompts of these lengths together, and then steps of a token each for as
  // many of them, the last ones.
  void expect_rows(std::vector<int32_t> lengths, const std::vector<int32_t>& steps,
                   double tolerance = kTolerance) {
    const auto slots = static_cast<int32_t>(lengths.size());
    std::vector<Piece> prompts;
    for (int32_t slot = 0; slot < slots; ++slot) prompts.push_back(piece(slot, 0, lengths[slot]));
    expect_near(prompts, tolerance);
    for (const int32_t rows : steps) {
      SCOPED_TRACE(std::to_string(rows) + " rows");
      std::vector<Piece> decode;
      for (int32_t slot = slots - rows; slot < slots; ++slot) {
        decode.push_back(piece(slot, lengths[slot]++, 1));
      }
      expect_near(decode, tolerance);
    }
  }

  static constexpr int32_t kSlots = 12;  // of 8 blocks each

  std::vector<int32_t> tokens_;
  std::vector<Logits> oracle_;
  std::unique_ptr<Runner> cuda_;
};

TEST_F(CudaForms, ChunksOfFp8) {
  make(every_kernel(), 111);
  expect_chunks({66, 20, 12, 8, 3, 1, 1});
}

// Steps of so few rows that attention norms for itself, and of more.
TEST_F(CudaForms, RowsThatDecode) {
  make(every_kernel(), 32);
  expect_rows({1, 2, 1, 3, 5, 16, 1, 4, 2, 3, 6, 17}, {1, 2, 5, 8, 12});
}

// The same of more query heads a KV head than half of the tensor core has room for, of narrow
// heads, and of an FP8 cache.
TEST_F(CudaForms, RowsOfOtherHeads) {
  for (const auto& [kv_heads, head_dim, kv_dtype] :
       {std::tuple{1, 128, DType::kF32}, {1, 64, DType::kF8E4M3}, {2, 64, DType::kF8E4M3}}) {
    SCOPED_TRACE(std::to_string(kv_heads) + " KV heads of " + std::to_string(head_dim));
    ModelConfig config = few_served();
    config.head_dim = head_dim, config.rotary_dim = head_dim / 2;
    config.num_heads = 16, config.num_kv_heads = kv_heads;
    make(config, 36, kv_dtype);
    expect_rows({2, 15, 3, 1, 6, 16, 33, 2, 17}, {9, 4}, tolerance_of(kv_dtype));
  }
}

// A lone row has so many blocks a KV head that they join by clusters, also where its queries fill
// more than half of the tensor core.
TEST_F(CudaForms, ARowOfOneKvHead) {
  for (const int32_t heads : {8, 12}) {
    SCOPED_TRACE(std::to_string(heads) + " heads");
    ModelConfig config = every_kernel();
    config.num_layers = 1;
    config.num_heads = heads, config.num_kv_heads = 1;
    make(config, 104);
    expect_chunks({90, 1, 9, 1, 1});
  }
}

// More keys than are under way at once, and, where there are multiprocessors for it, than one
// cluster takes. A few blocks stand for them, over and over.
TEST_F(CudaForms, LongContexts) {
  constexpr int32_t kFilled = 8;  // blocks
  ModelConfig config = every_kernel();
  config.num_layers = 1;
  config.num_heads = 8, config.num_kv_heads = 1;
  OpsLimits limits = small_limits(config);
  limits.num_blocks = kBlocks;
  limits.max_model_tokens = 4096;
  const Model model = dummy_model(config, 4);
  Runner cpu(model, limits), cuda(model, gpu_ops(config, model.shard, limits));
  const auto prompt = some_tokens(kFilled * 16, config.vocab_size, 3);
  cpu.sequence(prompt, kFilled * 16);
  cuda.sequence(prompt, kFilled * 16);
  for (const std::vector<int32_t>& contexts : {std::vector{4000}, {700}, {2500, 170, 900}}) {
    SCOPED_TRACE(std::to_string(contexts.front()) + " keys");
    std::vector<Piece> rows;
    for (const int32_t context : contexts) {
      const auto slot = static_cast<int32_t>(rows.size());
      Piece row{some_tokens(1, config.vocab_size, 20 + slot), context, {}, slot};
      for (int32_t b = 0; b <= context / 16; ++b) row.blocks.push_back(b % kFilled);
      row.blocks.back() = kFilled + slot;  // its own: the new key goes there
      rows.push_back(std::move(row));
    }
    const auto want = cpu.step(rows);
    const LogitComparison result = compare_logits(cuda.step(rows), want, kTolerance);
    EXPECT_TRUE(result.over.empty()) << result.largest;
    EXPECT_TRUE(result.wrong_top.empty());
  }
}

// A lone row from its first token on, past the ends of groups of 16 keys: by clusters, of four
// query heads and of 16; and of KV heads of one query head each.
TEST_F(CudaForms, ALoneRowsFirstKeys) {
  for (const auto& [heads, kv_heads, head_dim, kv_dtype] : {std::tuple{16, 1, 64, DType::kF32},
                                                            {16, 1, 64, DType::kF8E4M3},
                                                            {8, 8, 64, DType::kF32},
                                                            {4, 1, 128, DType::kF8E4M3}}) {
    SCOPED_TRACE(std::to_string(heads) + " heads of " + std::to_string(head_dim));
    ModelConfig config = few_served();
    config.head_dim = head_dim, config.rotary_dim = head_dim / 2;
    config.num_heads = heads, config.num_kv_heads = kv_heads;
    make(config, 18, kv_dtype);
    expect_chunks({1, 1, 13, 1, 1, 1}, tolerance_of(kv_dtype));
  }
}

// The model's own widths, for which products of few tokens are compiled apart.
TEST_F(CudaForms, RealWidths) {
  ModelConfig config = tiny();
  config.num_layers = 1;
  config.hidden_size = 3072;
  config.num_heads = 48, config.num_kv_heads = 8;
  config.expert_width = 1536;
  make(config, 8);
  expect_chunks({2, 1, 5});
}

TEST_F(CudaForms, WidthsThatFewKernelsServe) {
  ModelConfig config = tiny();
  config.hidden_size = 192;
  make(config, 124);
  expect_chunks({80, 36, 7, 1});
}

// Of more experts than a warp has lanes. A token may be off where its choice was near a tie.
TEST_F(CudaForms, ChoiceOfExperts) {
  constexpr double kRouterTie = 0.005;  // of a sigmoid: one layer rounds by less
  ModelConfig config = few_served();
  config.num_experts = 40, config.experts_per_token = 4;
  OpsLimits limits = small_limits(config);
  limits.num_blocks = kBlocks;
  const Model model = dummy_model(config, 8);
  auto reference_ops = std::make_unique<ReferenceOps>(config, limits);
  const ReferenceOps& reference = *reference_ops;
  Runner oracle(model, std::move(reference_ops));
  tokens_ = some_tokens(60, config.vocab_size, 9);
  const auto want = oracle.sequence(tokens_, 60);
  cuda_ = std::make_unique<Runner>(model, gpu_ops(config, model.shard, limits));
  int32_t ties = 0, off = 0, context = 0;
  for (const int32_t count : {34, 13, 6, 3, 1, 1, 1, 1}) {
    const auto ours = cuda_->step({piece(0, context, count)});
    for (int32_t i = 0; i < count; ++i, ++context) {
      const bool tie = reference.router_margin(context) < kRouterTie;
      const bool over = !compare_logits({ours[i]}, {want[context]}, kTolerance).over.empty();
      ties += tie ? 1 : 0;
      off += over && !tie ? 1 : 0;
    }
  }
  EXPECT_LE(ties, 25) << "too few are tested";
  EXPECT_EQ(off, 0);
}

// All experts have the same logits, so the bias alone decides, which has few values: of the experts
// that tie, also across warps, the first are taken. A bias that is not a number comes last, and
// makes no expert work twice on a token.
TEST_F(CudaForms, ChoiceAmongEqualExperts) {
  constexpr int32_t kAll = 1 << 10;
  for (const auto& [experts, count, first, numbers] : {std::tuple{33, 2, 0, kAll},
                                                       {70, 16, 0, kAll},
                                                       {256, 8, 0, kAll},
                                                       {300, 4, 250, kAll},
                                                       {40, 8, 0, 0},
                                                       {300, 8, 0, 3}}) {
    SCOPED_TRACE(fmt::format("{} of {}, of which {} have a bias", count, experts, numbers));
    ModelConfig config = few_served();
    config.num_experts = experts, config.experts_per_token = count;
    OpsLimits limits = small_limits(config);
    limits.num_blocks = kBlocks;
    const Model model = dummy_model(config, 8);
    const LayerWeights& layer = model.weights.layers[0];
    auto* gate = const_cast<float*>(layer.gate);
    auto* bias = const_cast<float*>(layer.gate_bias);
    for (int32_t e = 0; e < experts; ++e) {
      std::copy_n(gate, config.hidden_size, gate + int64_t{e} * config.hidden_size);
      bias[e] = 0.25f * static_cast<float>(e % 7 % 4) + (e >= first ? 1.0f : 0.0f);
      if (e >= numbers) bias[e] = NAN;
    }
    tokens_ = some_tokens(26, config.vocab_size, 9);
    oracle_ = Runner(model, limits).sequence(tokens_, 26);
    cuda_ = std::make_unique<Runner>(model, gpu_ops(config, model.shard, limits));
    expect_chunks({20, 5, 1});
  }
}

TEST_F(CudaForms, ManyTokens) {
  ModelConfig config = tiny();
  config.num_layers = 1;
  config.hidden_size = 128;
  config.num_heads = 2, config.num_kv_heads = 1;
  make(config, 120);
  expect_near({piece(0, 0, 90), piece(1, 0, 60), piece(2, 0, 120)});
  expect_chunks({90, 30});
}

// More than the norm by clusters takes, and more than what was added is forgotten of.
TEST_F(CudaForms, MoreTokensThanClustersNorm) {
  ModelConfig config = tiny();
  config.num_layers = 1;
  config.hidden_size = 64;
  config.num_heads = config.num_kv_heads = 1;
  config.head_dim = 64, config.rotary_dim = 32;
  make(config, 104);
  std::vector<Piece> pieces;
  for (int32_t slot = 0; slot < 5; ++slot) pieces.push_back(piece(slot, 0, 104));
  expect_near(pieces);
}

// What a layer adds up of its predecessor's experts, in more than one round.
TEST_F(CudaForms, SumsOfManyExperts) {
  ModelConfig config = few_served();
  config.num_layers = 2;
  config.num_experts = config.experts_per_token = 11;
  make(config, 24);
  expect_chunks({20, 3, 1});
}

// Of more than a warp's, or a block's, first share; and of more than kernels hold in registers.
TEST_F(CudaForms, ManyColumns) {
  for (const auto& [columns, chunks] :
       {std::pair{1792, std::vector{20, 4}}, {3328, std::vector{5, 1}}}) {
    SCOPED_TRACE(std::to_string(columns) + " columns");
    ModelConfig config = tiny();
    config.num_layers = 1;
    config.hidden_size = columns;
    config.expert_width = 256;
    make(config, std::reduce(chunks.begin(), chunks.end()));
    expect_chunks(chunks);
  }
}

TEST_F(CudaForms, Bf16) {
  ModelConfig config = tiny();
  config.weight_format = WeightFormat::kBF16;
  make(config, 96);
  expect_chunks({70, 20, 5, 1});
}

TEST_F(CudaForms, HeadsOf64AndFp8Cache) {
  ModelConfig config = tiny();
  config.head_dim = 64, config.rotary_dim = 32, config.num_heads = 16;
  config.expert_width = 256;
  for (const DType kv_dtype : {DType::kF32, DType::kF8E4M3}) {
    make(config, 35, kv_dtype);
    expect_chunks({24, 7, 2, 1, 1}, tolerance_of(kv_dtype));
  }
}

TEST_F(CudaForms, Fp8CacheOfHeadsOf128) {
  make(tiny(), 64, DType::kF8E4M3);
  expect_chunks({40, 22, 1, 1}, kFp8Tolerance);
}

}  // namespace
}  // namespace m2::test
