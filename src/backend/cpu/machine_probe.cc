#include "backend/cpu/machine_probe.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <thread>
#include <vector>

namespace m2 {
namespace {

volatile uint64_t sink;  // keeps the loops from being optimised away

void on_threads(int32_t threads, const std::function<void(int32_t)>& work) {
  std::vector<std::thread> running;
  for (int32_t i = 0; i < threads; ++i) running.emplace_back(work, i);
  for (std::thread& thread : running) thread.join();
}

// Seconds of the best of `rounds`: a probe asks what can be reached.
double best_of(int rounds, int32_t threads, const std::function<void(int32_t)>& work) {
  double best = 1e9;
  for (int round = 0; round < rounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    on_threads(threads, work);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    best = std::min(best, took.count());
  }
  return best;
}

#if defined(__x86_64__)
__attribute__((target_clones("avx2", "default")))
#endif
uint64_t
read_all(const uint64_t* p, size_t n) {
  uint64_t a = 0, b = 0, c = 0, d = 0;
  for (size_t i = 0; i + 32 <= n; i += 32) {
    for (size_t ahead = 512; ahead < 544; ahead += 8) __builtin_prefetch(p + i + ahead);
    for (size_t j = 0; j < 8; ++j) {
      a += p[i + j], b += p[i + 8 + j], c += p[i + 16 + j], d += p[i + 24 + j];
    }
  }
  return a + b + c + d;
}

typedef float Lanes __attribute__((vector_size(32)));

#if defined(__x86_64__)
__attribute__((target("avx2,fma")))
#endif
float multiply_add(int64_t rounds) {
  volatile float near_one = 0.999999f;  // unknown to the compiler
  const Lanes a = Lanes{} + near_one, b = Lanes{} + near_one;
  Lanes sums[12];
  for (int i = 0; i < 12; ++i)
    sums[i] = Lanes{} + near_one * static_cast<float>(i);  // no two alike
  for (int64_t i = 0; i < rounds; ++i) {
    for (Lanes& sum : sums) sum = sum * a + b;
  }
  float total = 0;
  for (const Lanes& sum : sums) total += sum[0] + sum[7];
  return total;
}

}  // namespace

double measure_read_rate(int32_t threads) {
  constexpr size_t kWords = size_t{32} << 20;  // 256 MiB a thread: more than any cache
  std::vector<std::vector<uint64_t>> memory(threads);
  on_threads(threads, [&](int32_t i) { memory[i].assign(kWords, i); });
  const double seconds =
      best_of(7, threads, [&](int32_t i) { sink = read_all(memory[i].data(), kWords); });
  return static_cast<double>(kWords * sizeof(uint64_t)) * threads / seconds;
}

double measure_fma_rate(int32_t threads) {
  constexpr int64_t kRounds = 20'000'000;
  const double seconds =
      best_of(5, threads, [](int32_t) { sink = static_cast<uint64_t>(multiply_add(kRounds)); });
  return 2.0 * 12 * 8 * kRounds * threads / seconds;
}

}  // namespace m2
