// How fast the model runs on this machine, beside what the machine itself can do: reading memory
// and multiplying floats, measured in the same run. Weights are random, of the shapes of the pocket
// checkpoint and of two layers of the real model with its vocabulary (fewer experts, but more than
// any cache holds). Usage: ops_bench [pocket|wide|all]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "backend/cpu/host.h"
#include "engine/executor.h"
#include "loader/dummy.h"
#include "model/config.h"
#include "runtime/runtime.h"

namespace m2 {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_of(const std::function<void()>& work) {
  const auto begin = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

void on_threads(int32_t threads, const std::function<void(int32_t)>& work) {
  std::vector<std::thread> running;
  for (int32_t i = 0; i < threads; ++i) running.emplace_back(work, i);
  for (std::thread& thread : running) thread.join();
}

volatile uint64_t sink;  // what keeps probes from being optimised away

// Bytes a second that all threads read together from memory.
__attribute__((target_clones("avx2", "default"))) uint64_t read_all(const uint64_t* p, size_t n) {
  uint64_t a = 0, b = 0, c = 0, d = 0;
  for (size_t i = 0; i + 32 <= n; i += 32) {
    __builtin_prefetch(p + i + 512);
    __builtin_prefetch(p + i + 520);
    __builtin_prefetch(p + i + 528);
    __builtin_prefetch(p + i + 536);
    for (size_t j = 0; j < 8; ++j) {
      a += p[i + j], b += p[i + 8 + j], c += p[i + 16 + j], d += p[i + 24 + j];
    }
  }
  return a + b + c + d;
}

double read_bandwidth(int32_t threads) {
  constexpr size_t kWords = size_t{32} << 20;  // 256 MiB a thread
  std::vector<std::vector<uint64_t>> memory(threads);
  on_threads(threads, [&](int32_t i) { memory[i].assign(kWords, i); });
  std::vector<double> times;
  for (int round = 0; round < 7; ++round) {
    times.push_back(seconds_of([&] {
      on_threads(threads, [&](int32_t i) { sink = read_all(memory[i].data(), kWords); });
    }));
  }
  return double(kWords) * 8 * threads / *std::min_element(times.begin(), times.end());
}

typedef float Lanes __attribute__((vector_size(32)));

#if defined(__x86_64__)
__attribute__((target("avx2,fma")))
#endif
float multiply_add(int64_t rounds) {
  volatile float near_one = 0.999999f;  // unknown to the compiler
  const Lanes a = Lanes{} + near_one, b = Lanes{} + near_one;
  Lanes sums[12];
  for (int i = 0; i < 12; ++i) sums[i] = Lanes{} + near_one * float(i);  // no two alike
  for (int64_t i = 0; i < rounds; ++i) {
    for (Lanes& sum : sums) sum = sum * a + b;
  }
  float total = 0;
  for (const Lanes& sum : sums) total += sum[0] + sum[7];
  return total;
}

// Floating-point operations a second of all threads together, in 8-lane fused multiply-adds.
double fma_rate(int32_t threads) {
  constexpr int64_t kRounds = 20'000'000;
  std::vector<double> times;
  for (int round = 0; round < 5; ++round) {
    times.push_back(seconds_of([&] {
      on_threads(threads, [&](int32_t) { sink = static_cast<uint64_t>(multiply_add(kRounds)); });
    }));
  }
  return 2.0 * 12 * 8 * kRounds * threads / *std::min_element(times.begin(), times.end());
}

struct Machine {
  double bytes_a_second, flops_a_second;
};

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
  c.max_position_embeddings = 4096;
  c.rope_theta = 5e6;
  return c;
}

ModelConfig wide_shape() {
  ModelConfig c = pocket_shape();
  c.hidden_size = 3072;
  c.num_layers = 2;
  c.num_heads = 48;
  c.expert_width = 1536;
  c.num_experts = 64;
  c.experts_per_token = 8;
  c.vocab_size = 200064;
  return c;
}

int64_t attention_weights(const ModelConfig& c) {
  return int64_t{c.hidden_size} * (2 * c.q_width() + 2 * c.kv_width());
}
int64_t expert_weights(const ModelConfig& c) { return int64_t{3} * c.hidden_size * c.expert_width; }

// Runs steps as the engine does, one ahead.
class Bench {
 public:
  Bench(const ModelConfig& config, const Machine& machine) : config_(config), machine_(machine) {
    RuntimeOptions options;
    options.max_sequences = 16;
    options.max_step_tokens = 512;
    options.max_model_tokens = 1024;
    options.kv_cache_bytes = int64_t{1} << 30;
    auto made = make_runtime(config, options,
                             [](const ModelConfig& c, const Shard& shard, HostMemory& memory) {
                               fill_dummy(c, shard, 1, usable_cores(), memory.data());
                               return Status();
                             });
    if (!made) {
      std::printf("%s\n", made.error().message.c_str());
      std::exit(1);
    }
    runtime_ = std::move(*made);
    std::printf("%s\n", runtime_.device.c_str());
  }

  // `rows` sequences of `tokens` new tokens each after `context`; `steps` in a row, growing when
  // they decode. Seconds a step: the median.
  double run(int32_t rows, int32_t tokens, int32_t context, int32_t steps) {
    const Capacity capacity = runtime_.executors.front()->capacity();
    std::vector<StepPlan> plans(2, StepPlan(capacity));
    std::vector<SamplePlan> samples(2);
    std::vector<double> times;
    auto last = Clock::now();
    for (int32_t i = 0; i <= steps; ++i) {
      if (i < steps) {
        fill(plans[i % 2], rows, tokens, context, i);
        runtime_.executors.front()->forward(plans[i % 2]);
      }
      if (i > 0) {
        StepResult result;
        (void)runtime_.executors.front()->wait(Clock::now() + std::chrono::seconds(60), result);
        const auto now = Clock::now();
        if (i > 1 || steps == 1) times.push_back(std::chrono::duration<double>(now - last).count());
        last = now;
      }
      if (i < steps) {
        fill(samples[i % 2], rows, tokens, context, i);
        runtime_.executors.front()->sample(samples[i % 2]);
      }
      if (tokens == 1) ++context;
    }
    return median(times);
  }

  void report(const char* what, double seconds, int64_t tokens, double bytes) const {
    const double flops =
        2.0 * double(tokens) * config_.num_layers *
        double(attention_weights(config_) + config_.experts_per_token * expert_weights(config_));
    std::printf(
        "%-34s %9.3f ms %9.0f tok/s  %6.1f GB/s (%3.0f %% of reading)  %6.1f GFLOP/s "
        "(%3.0f %% of "
        "FMA)\n",
        what, seconds * 1e3, double(tokens) / seconds, bytes / seconds / 1e9,
        100 * bytes / seconds / machine_.bytes_a_second, flops / seconds / 1e9,
        100 * flops / seconds / machine_.flops_a_second);
  }

  // Bytes of weights that a step of so many tokens reads; experts that uniform routing hits.
  double bytes(int32_t tokens, int32_t sampled) const {
    double missed = 1;
    for (int32_t i = 0; i < tokens; ++i) {
      missed *= 1 - double(config_.experts_per_token) / config_.num_experts;
    }
    const double experts = config_.num_experts * (1 - missed);
    return config_.num_layers *
               (double(attention_weights(config_)) + experts * double(expert_weights(config_)) +
                4.0 * config_.num_experts * config_.hidden_size) +
           (sampled > 0 ? 2.0 * config_.vocab_size * config_.hidden_size : 0);
  }

 private:
  void fill(StepPlan& plan, int32_t rows, int32_t tokens, int32_t context, int32_t step) {
    plan.clear();
    plan.set_step(step);
    for (int32_t r = 0; r < rows; ++r) {
      const int32_t blocks = (context + tokens + 15) / 16;
      plan.add_row() = {
          r, r * tokens, tokens, context, static_cast<int32_t>(plan.blocks().size()), blocks};
      for (TokenId& id : plan.add_tokens(tokens)) {
        id = tokens == 1 && step > 0
                 ? kTokenFromDevice
                 : static_cast<TokenId>((state_ = state_ * 1664525u + 1013904223u) >> 8) %
                       config_.vocab_size;
      }
      int32_t block = r * 64;
      for (int32_t& b : plan.add_blocks(blocks)) b = block++;
    }
  }

  void fill(SamplePlan& plan, int32_t rows, int32_t tokens, int32_t context, int32_t step) {
    plan.clear();
    plan.step = step;
    for (int32_t r = 0; r < rows; ++r) {
      SampleRow row;
      row.slot = r;
      row.token_index = (r + 1) * tokens - 1;
      row.position = context + tokens;
      row.top_k = 40;
      row.top_p = 0.95f;
      row.seed = r;
      plan.rows.push_back(row);
    }
  }

  const ModelConfig config_;
  const Machine machine_;
  Runtime runtime_;
  uint32_t state_ = 1;
};

void bench_pocket(const Machine& machine) {
  Bench bench(pocket_shape(), machine);
  bench.run(1, 1, 0, 200);
  bench.report("pocket, decode 1, context 0-500", bench.run(1, 1, 0, 500), 1, bench.bytes(1, 1));
  bench.report("pocket, decode 16, context 0-200", bench.run(16, 1, 0, 200), 16,
               bench.bytes(16, 1));
  bench.report("pocket, prompt of 200", bench.run(1, 200, 0, 20), 200, bench.bytes(200, 1));
}

void bench_wide(const Machine& machine) {
  Bench bench(wide_shape(), machine);
  bench.run(1, 1, 0, 3);
  bench.report("2 real layers + lm_head, decode 1", bench.run(1, 1, 0, 40), 1, bench.bytes(1, 1));
  bench.report("2 real layers + lm_head, decode 16", bench.run(16, 1, 0, 8), 16,
               bench.bytes(16, 1));
  bench.report("2 real layers + lm_head, prompt 512", bench.run(1, 512, 0, 4), 512,
               bench.bytes(512, 1));
}

}  // namespace
}  // namespace m2

int main(int argc, char** argv) {
  const std::string which = argc > 1 ? argv[1] : "pocket";
  const int32_t threads = m2::usable_cores();
  const m2::Machine machine{m2::read_bandwidth(threads), m2::fma_rate(threads)};
  std::printf("this machine, %d threads: reads %.1f GB/s, multiplies and adds %.0f GFLOP/s\n",
              threads, machine.bytes_a_second / 1e9, machine.flops_a_second / 1e9);
  if (which != "wide") m2::bench_pocket(machine);
  if (which != "pocket") m2::bench_wide(machine);
}
