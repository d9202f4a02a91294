// The runtime on a GPU, driven as the engine drives it; skipped where there is none.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/backend/cuda/driver.h"
#include "tests/runtime/driver.h"
#include "tests/runtime/gpu_fixture.h"

namespace m2::test {
namespace {

class GpuRuntime : public GpuFixture {
 protected:
  std::vector<TokenId> reply(Runtime& runtime) const {
    std::vector<TokenId> prompt(50);
    for (int32_t i = 0; i < 50; ++i) prompt[i] = 7 * i + 1;
    return Driver(*runtime.executors[0]).generate(prompt, 60);
  }
};

TEST_F(GpuRuntime, RepliesAreTheSameInEveryGraphMode) {
  std::vector<TokenId> launched;
  for (const GraphMode mode : {GraphMode::kNone, GraphMode::kPiecewise, GraphMode::kFullDecodeOnly,
                               GraphMode::kFullAndPiecewise}) {
    options_.graphs.mode = mode;
    auto runtime = make();
    ASSERT_TRUE(runtime) << runtime.error().message;
    const auto tokens = reply(*runtime);
    ASSERT_EQ(tokens.size(), 60u);
    if (launched.empty()) launched = tokens;
    EXPECT_EQ(tokens, launched) << int(mode);
  }
}

TEST_F(GpuRuntime, TakesNoMemoryAfterTheStart) {
  int told = 0;
  options_.warming_up = [&] { ++told; };
  auto runtime = make();
  ASSERT_TRUE(runtime) << runtime.error().message;
  EXPECT_EQ(told, 1);
  reply(*runtime);  // a prompt past the graphs' sizes brings its kernels' code
  const size_t free = backend_->free_bytes();
  for (int i = 0; i < 5; ++i) reply(*runtime);
  EXPECT_EQ(backend_->free_bytes(), free);
}

// What a start takes of the GPU is what its plan says, with graphs of as many kernels as the real
// model's.
TEST_F(GpuRuntime, ThePlanHoldsWhatIsTaken) {
  ModelConfig config = gpu_config();
  config.num_layers = 62;
  options_.max_sequences = 256;
  options_.max_step_tokens = 512;
  options_.num_blocks = 1024;
  for (const GraphMode mode :
       {GraphMode::kNone, GraphMode::kFullDecodeOnly, GraphMode::kFullAndPiecewise}) {
    options_.graphs.mode = mode;
    const size_t before = backend_->free_bytes();
    auto runtime = make_runtime(config, options_, load());
    ASSERT_TRUE(runtime) << runtime.error().message;
    const size_t taken = before - backend_->free_bytes();
    const MemoryPlan& plan = runtime->plan;
    const size_t planned =
        plan.weights_bytes + plan.kv_bytes + plan.scratch_bytes + plan.graph_bytes;
    std::printf("mode %d: %.1f MiB taken, %.1f planned, of which graphs %.1f\n", int(mode),
                double(taken) / 1048576, double(planned) / 1048576,
                double(plan.graph_bytes) / 1048576);
    EXPECT_LE(taken, planned) << int(mode);
  }
}

// Several pieces a loader thread, through all of its stages.
TEST_F(GpuRuntime, WeightsArriveByteForByte) {
  const CudaDriver driver;
  ASSERT_TRUE(driver.ready());
  ModelConfig config = gpu_config();
  config.hidden_size = 1024;
  config.vocab_size = 60000;
  const Shard shard = *make_shard(config, {}, 0);
  const size_t bytes = weights_bytes(config, shard);
  HostMemory want(bytes), got(bytes);
  fill_dummy(config, shard, 3, 4, want.data());
  auto block = backend_->make_weights(bytes, shard);
  ASSERT_TRUE(block) << block.error().message;
  ASSERT_TRUE(fill_dummy(config, shard, 3, 3, **block));
  ASSERT_TRUE((*block)->finish());
  const bool copied = driver.call<void*, uint64_t, size_t>(
      "cuMemcpyDtoH_v2", got.data(), reinterpret_cast<uint64_t>((*block)->base()), bytes);
  ASSERT_TRUE(copied);
  EXPECT_EQ(std::memcmp(got.data(), want.data(), bytes), 0);
}

// Copies go on streams of their own, which no other stream waits for: what finish() has not waited
// for is not there yet.
TEST_F(GpuRuntime, FinishWaitsForEveryCopy) {
  constexpr size_t kThreads = 16, kPieces = 2 * kThreads;  // as many as all stages hold
  constexpr size_t kBytes = WeightBlock::kMostPieceBytes;
  const CudaDriver driver;
  ASSERT_TRUE(driver.ready());
  auto block = backend_->make_weights(kPieces * kBytes, shard());
  ASSERT_TRUE(block) << block.error().message;
  for (int round = 1; round <= 20; ++round) {
    const auto put = [&](size_t piece) {
      return (*block)->put(piece * kBytes, kBytes, [&](std::byte* to) -> Status {
        std::memset(to, round, kBytes);
        return {};
      });
    };
    {
      std::vector<std::jthread> threads;
      for (size_t i = 0; i < kThreads; ++i) {
        threads.emplace_back([&, i] { EXPECT_TRUE(put(2 * i) && put(2 * i + 1)); });
      }
    }
    ASSERT_TRUE((*block)->finish());
    for (size_t piece = kPieces; piece-- > 0;) {
      uint8_t last = 0;
      ASSERT_TRUE((driver.call<void*, uint64_t, size_t>(
          "cuMemcpyDtoH_v2", &last,
          reinterpret_cast<uint64_t>((*block)->base() + (piece + 1) * kBytes - 1), 1)));
      ASSERT_EQ(last, round) << "piece " << piece;
    }
  }
}

TEST_F(GpuRuntime, SeveralRanksAreTheCpusWhereAnyDeviceWillDo) {
  options_.parallelism.tensor_parallel = 8;
  auto refused = make();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().field, "tensor-parallel-size");
  options_.device = "auto";
  auto runtime = make();
  ASSERT_TRUE(runtime) << runtime.error().message;
  EXPECT_TRUE(runtime->device.starts_with("cpu")) << runtime->device;
  EXPECT_NE(runtime->device.find("the GPU is not used: tensor"), std::string::npos)
      << runtime->device;
}

}  // namespace
}  // namespace m2::test
