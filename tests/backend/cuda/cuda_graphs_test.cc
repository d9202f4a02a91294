// Steps that are replayed from recorded graphs: the bits of steps that are launched, by sizes asked
// for, with no memory taken on the way.
#include <gtest/gtest.h>

#include <bit>

#include "tests/backend/cpu/model_runner.h"
#include "tests/backend/cuda/gpu.h"

namespace m2::test {
namespace {

// Plans of mixed sizes, the same for everyone: sequences that decode, sequences that bring chunks
// of prompts, and sequences that begin again.
class RandomPlans {
 public:
  explicit RandomPlans(const ModelConfig& config) : vocab_(config.vocab_size), context_(kSlots) {}

  std::vector<Piece> next() {
    std::vector<Piece> pieces;
    // Half of the steps only decode.
    const bool decode = random(2) == 0;
    const int32_t rows = 1 + random(kSlots);
    for (int32_t i = 0; i < rows; ++i) {
      const int32_t slot = (first_ + i) % kSlots;
      int32_t count = decode || random(4) != 0 ? 1 : 2 + random(40);
      if (context_[slot] + count > kBlocks * 16) context_[slot] = 0;
      Piece piece{some_tokens(count, vocab_, seed_ += 7), context_[slot], {}, slot};
      for (int32_t b = 0; b < kBlocks; ++b) piece.blocks.push_back(255 - kBlocks * slot - b);
      context_[slot] += count;
      pieces.push_back(std::move(piece));
    }
    first_ = random(kSlots);
    return pieces;
  }

 private:
  static constexpr int32_t kSlots = 21, kBlocks = 8;
  int32_t random(int32_t below) {
    state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<int32_t>((state_ >> 33) % uint64_t(below));
  }

  const int32_t vocab_;
  std::vector<int32_t> context_;
  int32_t first_ = 0;
  uint32_t seed_ = 1;
  uint64_t state_ = 99;
};

constexpr int32_t kPlans = 10000;

GraphOptions graphs_of(GraphMode mode, std::vector<int32_t> sizes = {}) {
  GraphOptions options;
  options.mode = mode;
  options.sizes = std::move(sizes);
  return options;
}

std::unique_ptr<Backend> backend_with(const GraphOptions& graphs) {
  BackendOptions options;
  options.device = "cuda";
  options.graphs = graphs;
  return std::move(*open_backend(options));
}

// What every plan's logits are, to the bit.
std::vector<uint64_t> run_plans(const Model& model, const GraphOptions& graphs, int32_t count) {
  const auto backend = backend_with(graphs);
  Runner runner(model, gpu_ops(model.config, model.shard, small_limits(model.config), *backend));
  RandomPlans plans(model.config);
  std::vector<uint64_t> hashes;
  for (int32_t i = 0; i < count; ++i) {
    uint64_t hash = 1469598103934665603ull;
    for (const Logits& logits : runner.step(plans.next())) {
      for (const float x : logits) hash = (hash ^ std::bit_cast<uint32_t>(x)) * 1099511628211ull;
    }
    hashes.push_back(hash);
  }
  return hashes;
}

// Steps that are replayed from graphs give the bits of steps that are launched.
void expect_same_bits(const ModelConfig& config, int32_t plans) {
  const Model model = dummy_model(config, 15);
  const auto launched = run_plans(model, graphs_of(GraphMode::kNone), plans);
  for (const GraphMode mode : {GraphMode::kPiecewise, GraphMode::kFull, GraphMode::kFullDecodeOnly,
                               GraphMode::kFullAndPiecewise}) {
    EXPECT_EQ(run_plans(model, graphs_of(mode), plans), launched) << int(mode);
  }
}

TEST(CudaGraphs, EveryModeGivesTheSameBits) {
  M2_NEEDS_GPU();
  expect_same_bits(small_config(), kPlans);
}

// Shapes for which steps of a few tokens have kernels of their own, with attention that norms for
// itself, and steps of more than 8 have products in parts, which the kernel after adds up.
TEST(CudaGraphs, EveryModeGivesTheSameBitsInEveryForm) {
  M2_NEEDS_GPU();
  ModelConfig config = small_config();
  config.hidden_size = 1024;
  config.num_heads = 8;
  config.expert_width = 256;
  config.experts_per_token = 2;
  expect_same_bits(config, kPlans / 5);
}

// Once every size was seen, steps take no more of the GPU's memory.
TEST(CudaGraphs, NothingIsAllocatedOnTheWay) {
  M2_NEEDS_GPU();
  const Model model = dummy_model(small_config(), 15);
  for (const GraphMode mode : {GraphMode::kNone, GraphMode::kFullAndPiecewise}) {
    const auto backend = backend_with(graphs_of(mode));
    Runner runner(model, gpu_ops(model.config, model.shard, small_limits(model.config), *backend));
    RandomPlans plans(model.config);
    for (int32_t i = 0; i < 500; ++i) runner.step(plans.next());
    const size_t free = backend->free_bytes();
    for (int32_t i = 0; i < 1500; ++i) runner.step(plans.next());
    EXPECT_EQ(backend->free_bytes(), free) << int(mode);
  }
}

// Sizes that are asked for decide what steps are padded to, so bits are those of the same sizes.
TEST(CudaGraphs, SizesAreTheOnesAskedFor) {
  M2_NEEDS_GPU();
  const Model model = dummy_model(small_config(), 15);
  const std::vector<int32_t> sizes{24, 3, 100};
  const auto launched = run_plans(model, graphs_of(GraphMode::kNone, sizes), 500);
  EXPECT_EQ(run_plans(model, graphs_of(GraphMode::kFullAndPiecewise, sizes), 500), launched);
  const auto backend = backend_with(graphs_of(GraphMode::kFullDecodeOnly, sizes));
  const auto ops = gpu_ops(model.config, model.shard, small_limits(model.config), *backend);
  const auto warmed = ops->sizes_to_warm();
  EXPECT_EQ(std::vector<int32_t>(warmed.begin(), warmed.end()), (std::vector<int32_t>{3, 24, 100}));
}

}  // namespace
}  // namespace m2::test
