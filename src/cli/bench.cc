// `m2 bench`: what a step takes, or each op of it, beside what its bytes and floating-point
// operations would take at the rates that the same run measured of the device.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "base/median.h"
#include "cli/bench_setup.h"
#include "cli/help.h"
#include "parallel/self_communicator.h"
#include "runtime/make_ranks.h"
#include "runtime/op_bench.h"
#include "runtime/step_bench.h"

namespace m2::cli {
namespace {

// Calls of an op that are timed together: where a call takes microseconds the clock would show.
constexpr int32_t kOpRepeatsOnGpu = 16;

Result<DeviceRates> tell_rates(const Backend& backend) {
  M2_ASSIGN(const DeviceRates rates, backend.measure_rates());
  fmt::print("this device: reads {:.1f} GB/s, {} {:.0f} GFLOP/s\n", rates.read_bytes / 1e9,
             rates.flops_name, rates.flops / 1e9);
  return rates;
}

// The context of one shape after another in the KV cache: what a prompt left there, never zeros. A
// shape of as many rows as the one before goes on where that ended.
class FilledContext {
 public:
  explicit FilledContext(Executor& executor) : executor_(executor) {}

  Status fill(const StepShape& shape) {
    const bool goes_on = shape.rows == filled_.rows && shape.context >= filled_.context;
    M2_TRY(fill_context(executor_, shape, goes_on ? filled_.context : 0));
    filled_ = shape;
    return {};
  }

 private:
  Executor& executor_;
  StepShape filled_{.rows = 0, .tokens = 0, .context = 0};
};

Status bench_steps(const BenchOptions& options, const BenchSetup& setup) {
  const auto shapes = bench_shapes(options);
  M2_ASSIGN(const Runtime runtime,
            make_runtime(setup.config, bench_runtime(options, shapes), setup.load()));
  fmt::print("{}\n{}\n", setup.title(options), runtime.device);
  BackendOptions device{.device = runtime.backend};
  device.threads = setup.threads;
  M2_ASSIGN(const auto backend, open_backend(device));
  M2_ASSIGN(const DeviceRates rates, tell_rates(*backend));
  FilledContext context(*runtime.executors[0]);
  for (const StepShape& shape : shapes) {
    M2_TRY(context.fill(shape));
    M2_ASSIGN(const auto times, time_steps(*runtime.executors[0], shape, options.steps));
    const double seconds = median(times);
    const StepCost cost =
        cost_of(setup.config, shape, runtime.plan.kv_bytes_a_token * runtime.plan.ranks);
    fmt::print("{:14} {:10.3f} ms {:9.0f} tok/s {:8.1f} GB/s {:9.1f} GFLOP/s   {}\n",
               shape_name(shape), seconds * 1e3, double(shape.rows) * shape.tokens / seconds,
               cost.bytes / seconds / 1e9, cost.flops / seconds / 1e9,
               floor_text(cost, seconds, rates));
    std::fflush(stdout);
  }
  return {};
}

// One rank's parts, that are called from here.
struct BenchRank {
  std::unique_ptr<Backend> backend;
  MemoryPlan plan;
  RankParts parts;
};
Result<BenchRank> make_bench_rank(const BenchOptions& options, const BenchSetup& setup,
                                  const BackendOptions& device) {
  if (options.parallelism.tensor_parallel > 1) {
    return fail(ErrorKind::kUnsupported, "tensor-parallel-size",
                "m2 bench ops and kernels time one rank; leave --tensor-parallel-size out");
  }
  const RuntimeOptions wanted = bench_runtime(options, bench_shapes(options));
  BenchRank rank;
  M2_ASSIGN(rank.backend, open_backend(device));
  if (device.note_kernel_times && rank.backend->name() != "cuda") {
    return fail(ErrorKind::kUnsupported, "device",
                "m2 bench kernels needs an NVIDIA GPU, this is {}", rank.backend->detail());
  }
  M2_ASSIGN(const Shard shard, make_shard(setup.config, {}, 0));
  M2_TRY(rank.backend->serves(setup.config, shard));
  M2_ASSIGN(rank.plan, plan_memory(setup.config, shard, wanted, *rank.backend));
  fmt::print("{}\n{}\n", setup.title(options), rank.backend->detail());
  M2_ASSIGN(rank.parts,
            make_rank(setup.config, shard, rank.plan.limits, setup.load(), *rank.backend));
  rank.parts.communicator = std::make_unique<SelfCommunicator>();
  return rank;
}

Status bench_ops(const BenchOptions& options, const BenchSetup& setup) {
  BackendOptions device{.device = options.device, .threads = options.threads};
  device.graphs.mode = GraphMode::kNone;
  M2_ASSIGN(BenchRank rank, make_bench_rank(options, setup, device));
  M2_ASSIGN(const DeviceRates rates, tell_rates(*rank.backend));
  const OpBenchOptions timing{.repeats = rank.backend->name() == "cuda" ? kOpRepeatsOnGpu : 1,
                              .rounds = options.steps};
  for (const StepShape& shape : bench_shapes(options)) {
    for (const OpKind op : kOpKinds) {
      const auto& only = options.ops;
      if (!only.empty() && std::find(only.begin(), only.end(), op_name(op)) == only.end()) continue;
      M2_ASSIGN(const double seconds, time_op(rank.parts, rank.plan.limits, op, shape, timing));
      const StepCost cost = cost_of(setup.config, op, shape, rank.plan.kv_bytes_a_token);
      fmt::print("{:14} {:12} {:10.1f} us {:8.1f} GB/s {:9.1f} GFLOP/s   {}\n", shape_name(shape),
                 op_name(op), seconds * 1e6, cost.bytes / seconds / 1e9, cost.flops / seconds / 1e9,
                 floor_text(cost, seconds, rates));
      std::fflush(stdout);
    }
  }
  return {};
}

Status bench_kernels(const BenchOptions& options, const BenchSetup& setup) {
  BackendOptions device{.device = options.device, .threads = options.threads};
  device.note_kernel_times = true;
  M2_ASSIGN(BenchRank rank, make_bench_rank(options, setup, device));
  for (const StepShape& shape : bench_shapes(options)) {
    M2_ASSIGN(const auto kernels, time_kernels(rank.parts, rank.plan.limits, shape, options.steps));
    double all = 0;
    for (const KernelTime& kernel : kernels) all += kernel.seconds;
    fmt::print("{} after {}: {:.3f} ms\n", shape_name(shape), shape.context, all * 1e3);
    for (const KernelTime& kernel : kernels) {
      fmt::print("  {:22} {:3} x {:9.1f} us {:6.1f} %\n", kernel.name, kernel.count,
                 kernel.seconds / kernel.count * 1e6, 100 * kernel.seconds / all);
    }
    std::fflush(stdout);
  }
  return {};
}

// Rates against the context, as CSV.
Status bench_frontier(const BenchOptions& options, const BenchSetup& setup) {
  const auto shapes = bench_shapes(options);
  M2_ASSIGN(const Runtime runtime,
            make_runtime(setup.config, bench_runtime(options, shapes), setup.load()));
  fmt::print(stderr, "{}\n{}\n", setup.title(options), runtime.device);
  fmt::print("kind,rows,tokens,context,ms,tokens_per_s\n");
  FilledContext context(*runtime.executors[0]);
  for (const StepShape& shape : shapes) {
    M2_TRY(context.fill(shape));
    M2_ASSIGN(const auto times, time_steps(*runtime.executors[0], shape, options.steps));
    const double seconds = median(times);
    fmt::print("{},{},{},{},{:.4f},{:.1f}\n", shape.tokens == 1 ? "decode" : "prefill", shape.rows,
               shape.tokens, shape.context, seconds * 1e3,
               double(shape.rows) * shape.tokens / seconds);
    std::fflush(stdout);
  }
  return {};
}

Status bench(const BenchOptions& options) {
  M2_ASSIGN(const BenchSetup setup, bench_setup(options));
  switch (options.kind) {
    case BenchKind::kSteps:
      return bench_steps(options, setup);
    case BenchKind::kOps:
      return bench_ops(options, setup);
    case BenchKind::kKernels:
      return bench_kernels(options, setup);
    case BenchKind::kFrontier:
      return bench_frontier(options, setup);
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
