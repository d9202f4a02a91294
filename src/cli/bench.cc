// `m2 bench`: what a step takes, beside what its bytes and floating-point operations would take at
// the rates that the same run measured of the machine.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <optional>

#include "backend/cpu/host.h"
#include "backend/cpu/machine_probe.h"
#include "base/divide_up.h"
#include "cli/bench_options.h"
#include "cli/help.h"
#include "cli/known_models.h"
#include "loader/checkpoint.h"
#include "loader/dummy.h"
#include "runtime/runtime.h"
#include "runtime/step_bench.h"

namespace m2::cli {
namespace {

ModelConfig pocket_shape() {
  ModelConfig c;
  c.hidden_size = 256;
  c.num_layers = 5;
  c.num_heads = 16;
  c.num_kv_heads = 8;
  c.head_dim = 128;
  c.rotary_dim = 64;
  c.expert_width = 512;
  c.num_experts = 8;
  c.experts_per_token = 2;
  c.vocab_size = 1024;
  c.max_position_embeddings = 196608;
  c.rope_theta = 5e6;
  return c;
}

ModelConfig shape_of(const BenchOptions& options) {
  ModelConfig config =
      options.shape == "pocket" ? pocket_shape() : *known_config("MiniMaxAI/MiniMax-M2.5");
  if (options.shape == "wide") {
    config.num_layers = 2;
    config.num_experts = 64;  // more than any cache holds, and it fits a small machine
  }
  if (options.num_layers > 0) config.num_layers = options.num_layers;
  return config;
}

// Room for the largest of the shapes, no more.
RuntimeOptions runtime_options(const BenchOptions& options) {
  RuntimeOptions out;
  out.device = options.device;
  out.threads = options.threads;
  out.parallelism = options.parallelism;
  out.kv_dtype = options.kv_dtype;
  int32_t rows = 1, tokens = 1, blocks = 0, longest = 0;
  const auto count = [&](int32_t r, int32_t t, int32_t length) {
    rows = std::max(rows, r);
    tokens = std::max(tokens, r * t);
    longest = std::max(longest, length);
    blocks = std::max(blocks, r * (static_cast<int32_t>(divide_up(length, out.block_tokens))));
  };
  for (const int32_t r : options.decode) count(r, 1, options.context + options.steps + 2);
  for (const int32_t t : options.prefill) count(1, t, options.context + t);
  out.max_sequences = rows;
  out.max_step_tokens = std::max(tokens, rows);
  out.max_model_tokens = longest;
  out.num_blocks = blocks;
  return out;
}

struct Roof {
  double bytes = 0, flops = 0;  // a second; 0: not known of this device
};

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void report(const StepShape& shape, double seconds, const StepCost& cost, const Roof& roof) {
  const std::string what = shape.tokens == 1 ? fmt::format("decode {}", shape.rows)
                                             : fmt::format("prefill {}", shape.tokens);
  fmt::print("{:14} {:10.3f} ms {:9.0f} tok/s {:8.1f} GB/s {:9.1f} GFLOP/s", what, seconds * 1e3,
             double(shape.rows) * shape.tokens / seconds, cost.bytes / seconds / 1e9,
             cost.flops / seconds / 1e9);
  if (roof.bytes > 0) {
    const double floor = std::max(cost.bytes / roof.bytes, cost.flops / roof.flops);
    fmt::print("   floor {:9.3f} ms = {:3.0f} %  (reads {:3.0f} %, multiply-adds {:3.0f} %)",
               floor * 1e3, 100 * floor / seconds, 100 * cost.bytes / seconds / roof.bytes,
               100 * cost.flops / seconds / roof.flops);
  }
  fmt::print("\n");
  std::fflush(stdout);
}

Status bench(const BenchOptions& options) {
  const int32_t threads = options.threads > 0 ? options.threads : usable_cores();
  ModelConfig config = shape_of(options);
  std::optional<Checkpoint> checkpoint;
  if (!options.model.empty()) {
    M2_ASSIGN(config, load_config(options.model));
    M2_ASSIGN(checkpoint, Checkpoint::open(options.model, config));
  }
  const LoadWeights load = [&](const ModelConfig& c, const Shard& shard, WeightBlock& block) {
    if (checkpoint) return checkpoint->load(shard, threads, block);
    return fill_dummy(c, shard, 1, threads, block);
  };
  M2_ASSIGN(const Runtime runtime, make_runtime(config, runtime_options(options), load));
  fmt::print("{}: {} layers of {}, {} experts of {} ({} a token), {} ids\n",
             options.model.empty() ? options.shape + " shape, random weights" : options.model,
             config.num_layers, config.hidden_size, config.num_experts, config.expert_width,
             config.experts_per_token, config.vocab_size);
  fmt::print("{}\n", runtime.device);
  Roof roof;
  if (runtime.device.starts_with("cpu")) {
    roof = {measure_read_rate(threads), measure_fma_rate(threads)};
    fmt::print("this machine, {} threads: reads {:.1f} GB/s, fp32 multiply-adds {:.0f} GFLOP/s\n",
               threads, roof.bytes / 1e9, roof.flops / 1e9);
  }
  std::vector<StepShape> shapes;
  for (const int32_t rows : options.decode) shapes.push_back({rows, 1, options.context});
  for (const int32_t tokens : options.prefill) shapes.push_back({1, tokens, options.context});
  for (const StepShape& shape : shapes) {
    M2_ASSIGN(const auto seconds, time_steps(*runtime.executors[0], shape, options.steps));
    const size_t kv = runtime.plan.kv_bytes_a_token * runtime.plan.ranks;
    report(shape, median(seconds), cost_of(config, shape, kv), roof);
  }
  return {};
}

}  // namespace

int run_bench(Arguments arguments) {
  auto options = parse_bench_options(arguments);
  if (!options) {
    fmt::print(stderr, "m2 bench: {}\n", options.error().message);
    return kExitUsage;
  }
  if (options->help) return print_help(bench_command(), options->help_topic);
  const Status status = bench(*options);
  if (status) return kExitOk;
  fmt::print(stderr, "m2 bench: {}\n", status.error().message);
  return kExitFailure;
}

}  // namespace m2::cli
