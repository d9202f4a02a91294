// A GPU in trouble: what the engine hears of it, and that it says which kernel and which step.
// Skipped where there is no GPU.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "loader/dummy.h"
#include "runtime/make_ranks.h"
#include "runtime/rank_group.h"
#include "tests/backend/cuda/driver.h"
#include "tests/runtime/gpu_fixture.h"

namespace m2::test {
namespace {

using GpuRuntimeFaults = GpuFixture;

// One step of a prompt and the answer to it.
Status run_step(Executor& executor, uint64_t number, std::chrono::milliseconds patience) {
  StepPlan step(executor.capacity());
  step.set_step(number);
  step.add_row() = {0, 0, 5, 0, 0, 1};
  for (TokenId& token : step.add_tokens(5)) token = 3;
  for (int32_t& block : step.add_blocks(1)) block = 0;
  SamplePlan sample;
  sample.step = number;
  SampleRow row;
  row.token_index = 4;
  row.position = 5;
  sample.rows.push_back(row);
  executor.forward(step);
  executor.sample(sample);
  StepResult result;
  return executor.wait(std::chrono::steady_clock::now() + patience, result);
}

constexpr std::chrono::milliseconds kLong{20'000}, kShort{500};

TEST_F(GpuRuntimeFaults, AnIllegalAccessNamesTheKernelAndTheStep) {
  // The fault outlives everything in its process: it is made in another one.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto fault = [&] {
    auto parts = make_rank(gpu_config(), shard(), limits(), load(), *backend_);
    parts->communicator = std::make_unique<SelfCommunicator>();
    parts->weights.layers[1].gate_up.data = reinterpret_cast<const void*>(0x1000);
    std::vector<RankParts> ranks;
    ranks.push_back(std::move(*parts));
    RankGroup group(std::move(ranks), capacity_of(gpu_config(), limits()));
    const Status status = run_step(group, 17, kLong);
    std::fprintf(stderr, "%s\n", status ? "no fault" : status.error().message.c_str());
    std::fflush(stderr);
    _exit(0);
  };
  EXPECT_EXIT(fault(), ::testing::ExitedWithCode(0),
              "step 17: CUDA: .*; the kernel begun last: experts' gate and up of layer 1");
}

TEST_F(GpuRuntimeFaults, AStepThatHangsIsFoundAtItsDeadline) {
  const CudaDriver driver;
  ASSERT_TRUE(driver.ready());
  auto parts = make_rank(gpu_config(), shard(), limits(), load(), *backend_);
  ASSERT_TRUE(parts) << parts.error().message;
  parts->communicator = std::make_unique<SelfCommunicator>();
  std::vector<RankParts> ranks;
  ranks.push_back(std::move(*parts));
  RankGroup group(std::move(ranks), capacity_of(gpu_config(), limits()));
  ASSERT_TRUE(run_step(group, 1, kLong));
  BusyGpu busy(driver);
  ASSERT_TRUE(busy.ok());
  const Status hung = run_step(group, 2, kShort);
  busy.let_go();
  ASSERT_FALSE(hung);
  EXPECT_EQ(hung.error().message,
            "step 2 missed its deadline: the device hangs; the kernel begun last: sampling");
}

// What is refused takes nothing with it: the next start succeeds.
TEST_F(GpuRuntimeFaults, OutOfMemoryAtTheStartIsAnErrorThatSaysWhatFor) {
  OpsLimits huge = limits();
  huge.num_blocks = 1 << 26;
  const auto refused = make_rank(gpu_config(), shard(), huge, load(), *backend_);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("GiB for the KV cache: out of memory"), std::string::npos)
      << refused.error().message;
  EXPECT_EQ(refused.error().kind, ErrorKind::kUnavailable);
  const auto made = make_rank(gpu_config(), shard(), limits(), load(), *backend_);
  EXPECT_TRUE(made) << made.error().message;
}

// Another process: this program, asked for this test alone. It says when it holds the memory, and
// gives it back when it is ended.
TEST_F(GpuRuntimeFaults, DISABLED_HoldsMemory) {
  const CudaDriver driver;
  ASSERT_TRUE(driver.ready());
  const HeldMemory held(driver, size_t{64} << 20);
  std::puts(held.ok() ? "held" : "refused");
  std::fflush(stdout);
  for (;;) pause();
}

TEST_F(GpuRuntimeFaults, MemoryThatOthersHoldIsNamed) {
  int out[2];
  ASSERT_EQ(pipe(out), 0);
  const pid_t holder = fork();
  ASSERT_GE(holder, 0);
  if (holder == 0) {
    dup2(out[1], STDOUT_FILENO);
    execl("/proc/self/exe", "holder", "--gtest_filter=GpuRuntimeFaults.DISABLED_HoldsMemory",
          "--gtest_also_run_disabled_tests", "--gtest_output=", nullptr);
    _exit(1);
  }
  close(out[1]);
  std::string said;
  for (char c = 0; said.find("held") == std::string::npos && read(out[0], &c, 1) == 1;) said += c;
  const auto runtime = make();
  const bool can_be_seen = !backend_->other_processes().empty();  // not in every container
  kill(holder, SIGKILL);
  waitpid(holder, nullptr, 0);
  close(out[0]);
  ASSERT_NE(said.find("held"), std::string::npos) << said;
  ASSERT_FALSE(runtime);
  const std::string& message = runtime.error().message;
  EXPECT_NE(message.find("of the GPU's"), std::string::npos) << message;
  EXPECT_NE(message.find("; other processes hold about"), std::string::npos) << message;
  if (!can_be_seen) return;
  EXPECT_NE(message.find(fmt::format("(process {})", holder)), std::string::npos) << message;
}

}  // namespace
}  // namespace m2::test
