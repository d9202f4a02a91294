// The flags of `m2 bench`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/error.h"
#include "cli/commands.h"
#include "cli/flag.h"
#include "model/shard.h"

namespace m2::cli {

// Whole steps; the ops of a step; its kernels where they stand; steps against the context, as CSV.
enum class BenchKind : uint8_t { kSteps, kOps, kKernels, kFrontier };

struct BenchOptions {
  BenchKind kind = BenchKind::kSteps;
  std::string model;                      // a folder with weights; empty: random weights of `shape`
  std::string shape = "wide";             // "pocket", "wide" or "m2"
  int32_t num_layers = 0;                 // 0: the shape's
  std::vector<int32_t> decode = {1, 16};  // rows of decode steps to time, one after another
  std::vector<int32_t> prefill = {512};   // prompt lengths to time
  std::vector<int32_t> contexts = {0};    // tokens in the KV cache before, one after another
  std::vector<std::string> ops;           // of kOps, by op_name(); empty: all
  int32_t steps = 20;                     // timed steps of each; the median is told

  std::string device = "auto";
  int32_t threads = 0;
  Parallelism parallelism;
  std::optional<DType> kv_dtype;

  bool help = false;
  std::string help_topic;
};

const Command& bench_command();
Result<BenchOptions> parse_bench_options(Arguments arguments);

}  // namespace m2::cli
