// The engine: continuous batching of many requests over one Executor. One thread runs it; others
// hand it work. Sequences, blocks, prefix cache and scheduler belong to that thread alone.
//
// Thread-safety: submit, cancel, drain, stop, healthy and stats from any thread; run() once.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

#include "base/error.h"
#include "engine/executor.h"
#include "engine/output.h"
#include "engine/request.h"

namespace m2 {

enum class SchedulingPolicy { kFcfs, kPriority };

struct EngineOptions {
  int32_t max_waiting = 1024;  // requests queued before submit refuses with kUnavailable
  bool prefix_caching = true;
  bool chunked_prefill = true;
  int32_t long_prefill_tokens = 0;  // most prompt tokens of one sequence a step; 0 is no limit
  SchedulingPolicy policy = SchedulingPolicy::kFcfs;
  std::chrono::milliseconds step_deadline{30000};  // a step that takes longer is a fault
  uint64_t cache_key = 0;                          // keys the prefix cache's hash; random at start
  bool check_invariants = false;                   // after every step; for tests
};

// Counters and gauges, read by /metrics and the log line while the engine runs.
struct EngineStats {
  std::atomic<int64_t> running{0}, waiting{0};           // sequences
  std::atomic<int64_t> blocks_total{0}, blocks_used{0};  // used: referenced by a sequence
  std::atomic<int64_t> prompt_tokens{0}, generation_tokens{0};
  std::atomic<int64_t> prefix_queries{0}, prefix_hits{0};  // tokens
  std::atomic<int64_t> preemptions{0}, steps{0};
  std::atomic<int64_t> last_step_tokens{0};
  std::atomic<int64_t> heartbeat_ns{0};  // steady clock, each turn of the loop
};

class Engine {
 public:
  // `executor` and `sink` outlive the engine.
  Engine(EngineOptions options, Executor& executor, OutputSink& sink);
  ~Engine();

  // Runs until stop(), or until drain() and no work is left, or a fault. On a fault every open
  // request gets an error output and healthy() turns false; the error is returned.
  Status run();

  // Hands over a request. kUnavailable when the queue is full or the engine is draining;
  // kInvalidArgument when it can never fit (more blocks than the pool has).
  Status submit(Request request);
  void cancel(RequestId id);  // unknown or finished ids are ignored

  void drain();  // accept nothing more; run() returns when the last request has ended
  void stop();   // end every open request with kAbort, then run() returns

  bool healthy() const;
  const EngineStats& stats() const;
  const Capacity& capacity() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace m2
