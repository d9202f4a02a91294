// What the host costs a step, without a model: microseconds a running sequence, and allocations.
//
// scheduler: plan, sample plan and commit of decoding sequences, called directly.
// engine: the whole loop, over an executor that answers at once and a sink that drops what it gets.
#include <benchmark/benchmark.h>

#include <memory>
#include <thread>
#include <vector>

#include "engine/commit.h"
#include "engine/engine.h"
#include "engine/sampling.h"
#include "engine/scheduler.h"
#include "tests/allocation_counter.h"

namespace m2 {
namespace {

using test::allocations;

constexpr int32_t kPromptTokens = 500;

Capacity capacity_for(int32_t sequences) {
  return {.num_blocks = sequences * 256,
          .block_tokens = 16,
          .max_step_tokens = 8192,
          .max_sequences = sequences,
          .max_sample_rows = sequences,
          .max_model_tokens = 4096,
          .vocab_size = 200'064};
}

Request endless(RequestId id) {
  Request request;
  request.id = id;
  for (int32_t i = 0; i < kPromptTokens; ++i) {
    request.prompt.push_back(static_cast<TokenId>(id * 1000 + i) % 200'000);
  }
  request.stop.max_tokens = 4096 - kPromptTokens;
  request.stop.eos_token_ids = {200'020};
  return request;
}

// One drawn token a row, without a device.
void answer(const SamplePlan& plan, StepResult& result) {
  result.clear();
  result.step = plan.step;
  for (const SampleRow& row : plan.rows) {
    SampledRow sampled;
    sampled.tokens = {static_cast<int32_t>(result.tokens.size()), 1};
    result.rows.push_back(sampled);
    result.tokens.push_back(100 + row.position % 1000);
  }
}

void scheduler_step(benchmark::State& state) {
  const auto sequences = static_cast<int32_t>(state.range(0));
  const Capacity capacity = capacity_for(sequences);
  std::unique_ptr<Scheduler> scheduler;
  std::vector<std::unique_ptr<Sequence>> sequences_alive;
  std::vector<Step> steps;
  steps.reserve(2);
  for (int i = 0; i < 2; ++i) steps.emplace_back(capacity);
  OutputBatch outputs;
  StepResult result;
  std::vector<Sequence*> ended;
  int64_t generated = 0;
  size_t turn = 0;
  bool pending = false;
  const auto step = [&] {
    Step& next = steps[turn ^= 1];
    scheduler->plan(next);
    if (pending) {
      answer(steps[turn ^ 1].sample, result);
      CommitContext context{capacity, *scheduler, next, outputs, ended, generated};
      if (!commit_step(steps[turn ^ 1], result, context)) std::abort();
    }
    benchmark::DoNotOptimize(outputs.outputs().data());
    outputs.clear();
    plan_samples(capacity, next);
    pending = !next.empty();
  };
  const auto restart = [&] {
    EngineOptions options;
    options.cache_key = 1;
    scheduler = std::make_unique<Scheduler>(capacity, options);
    sequences_alive.clear();
    pending = false;
    for (int32_t i = 0; i < sequences; ++i) {
      sequences_alive.push_back(
          std::make_unique<Sequence>(endless(i + 1), capacity.max_model_tokens));
      scheduler->add(*sequences_alive.back());
    }
    for (int i = 0; i < 50; ++i) step();  // all prompts are in, all buffers have grown
  };
  restart();
  int64_t steps_run = 0, allocated = 0;
  while (state.KeepRunningBatch(100)) {
    if (sequences_alive[0]->generated() > 800) {
      state.PauseTiming();
      restart();
      state.ResumeTiming();
    }
    const int64_t before = allocations.load(std::memory_order_relaxed);
    for (int i = 0; i < 100; ++i) step();
    allocated += allocations.load(std::memory_order_relaxed) - before;
    steps_run += 100;
  }
  state.counters["time_a_sequence_a_step"] =
      benchmark::Counter(static_cast<double>(steps_run) * sequences,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.counters["allocations_a_step"] =
      static_cast<double>(allocated) / static_cast<double>(steps_run);
}
BENCHMARK(scheduler_step)->Arg(1)->Arg(16)->Arg(256)->Unit(benchmark::kMicrosecond);

class InstantExecutor : public Executor {
 public:
  explicit InstantExecutor(int32_t sequences) : capacity_(capacity_for(sequences)) {}
  Capacity capacity() const override { return capacity_; }
  void forward(const StepPlan&) override {}
  void sample(const SamplePlan& plan) override { plan_ = &plan; }
  Status wait(Deadline, StepResult& result) override {
    answer(*plan_, result);
    return {};
  }

 private:
  const Capacity capacity_;
  const SamplePlan* plan_ = nullptr;
};

class DroppingSink : public OutputSink {
 public:
  void publish(std::span<RequestOutput> batch) override { benchmark::DoNotOptimize(batch.data()); }
};

void engine_loop(benchmark::State& state) {
  const auto sequences = static_cast<int32_t>(state.range(0));
  InstantExecutor executor(sequences);
  DroppingSink sink;
  double sequence_steps = 0;
  for (auto _ : state) {
    state.PauseTiming();
    EngineOptions options;
    options.cache_key = 1;
    Engine engine(options, executor, sink);
    for (int32_t i = 0; i < sequences; ++i) {
      Request request = endless(i + 1);
      request.stop.max_tokens = 1000;
      if (!engine.submit(std::move(request))) std::abort();
    }
    engine.drain();
    state.ResumeTiming();
    if (!engine.run()) std::abort();
    sequence_steps += static_cast<double>(engine.stats().generation_tokens);
  }
  state.counters["time_a_sequence_a_step"] =
      benchmark::Counter(sequence_steps, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(engine_loop)->Arg(1)->Arg(256)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace m2

BENCHMARK_MAIN();
