#include "cli/bench_options.h"

#include <gtest/gtest.h>

#include "cli/bench_setup.h"

namespace m2::cli {
namespace {

Result<BenchOptions> parse(std::vector<std::string> arguments) {
  return parse_bench_options(arguments);
}

TEST(BenchOptions, ListsOfSizes) {
  const auto options = parse({"--decode", "1", "8", "64", "--prefill", "0", "--steps=3"});
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->decode, (std::vector<int32_t>{1, 8, 64}));
  EXPECT_TRUE(options->prefill.empty());
  EXPECT_EQ(options->steps, 3);
  EXPECT_EQ(options->shape, "wide");
}

TEST(BenchOptions, ShortNamesAndChoices) {
  const auto options =
      parse({"-tp", "2", "-ep", "--device", "cpu", "--kv-cache-dtype", "fp8_e4m3"});
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->parallelism.tensor_parallel, 2);
  EXPECT_TRUE(options->parallelism.expert_parallel);
  EXPECT_EQ(options->device, "cpu");
  EXPECT_EQ(options->kv_dtype, DType::kF8E4M3);
}

TEST(BenchOptions, WhatIsTimed) {
  EXPECT_EQ(parse({})->kind, BenchKind::kSteps);
  const auto ops = parse({"ops", "folder", "--op", "experts_add", "head", "--context", "0", "64"});
  ASSERT_TRUE(ops) << ops.error().message;
  EXPECT_EQ(ops->kind, BenchKind::kOps);
  EXPECT_EQ(ops->model, "folder");
  EXPECT_EQ(ops->ops, (std::vector<std::string>{"experts_add", "head"}));
  EXPECT_EQ(ops->contexts, (std::vector<int32_t>{0, 64}));
  const auto kernels = parse({"kernels", "ops"});
  EXPECT_EQ(kernels->kind, BenchKind::kKernels);
  EXPECT_EQ(kernels->model, "ops");
  const auto frontier = parse({"frontier"});
  EXPECT_EQ(frontier->kind, BenchKind::kFrontier);
  EXPECT_EQ(frontier->contexts.size(), 4u);
  EXPECT_EQ(parse({"./ops"})->model, "./ops");
}

// The model's own positions bound what is timed, the steps that follow each other with it.
TEST(BenchOptions, ALengthPastTheModelIsRefusedByItsOwnName) {
  const auto setup_of = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--shape", "pocket", "--prefill", "0", "--decode", "1"});
    return bench_setup(*parse(std::move(arguments)));
  };
  EXPECT_TRUE(setup_of({"--context", "0", "196586"}));
  const auto refused = setup_of({"--context", "0", "196587"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().field, "context");
  EXPECT_EQ(refused.error().message,
            "--context 196587 and 22 tokens after it are past the model's 196608 positions");
}

TEST(BenchOptions, RefusalsNameTheFlag) {
  for (const auto& [arguments, field] :
       std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"--decode", "1x"}, "decode"},
           {{"--decode", "5000"}, "decode"},
           {{"--prefill=-1"}, "prefill"},
           {{"--shape", "big"}, "shape"},
           {{"folder", "--shape", "wide"}, "shape"},
           {{"folder", "--num-layers", "3"}, "shape"},
           {{"--steps", "0"}, "steps"},
           {{"ops", "--op", "nothing"}, "op"},
           {{"--op", "head"}, "op"},
           {{"ops", "one", "two"}, ""}}) {
    const auto options = parse(arguments);
    ASSERT_FALSE(options) << arguments[0];
    EXPECT_EQ(options.error().field, field) << options.error().message;
  }
}

}  // namespace
}  // namespace m2::cli
