// The runtime on a GPU, driven as the engine drives it; skipped where there is none.
#include <gtest/gtest.h>

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
  auto runtime = make();
  ASSERT_TRUE(runtime) << runtime.error().message;
  reply(*runtime);  // a prompt past the graphs' sizes brings its kernels' code
  const size_t free = backend_->free_bytes();
  for (int i = 0; i < 5; ++i) reply(*runtime);
  EXPECT_EQ(backend_->free_bytes(), free);
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
