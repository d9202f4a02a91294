// How the engine schedules; set once at start-up.
#pragma once

#include <chrono>
#include <cstdint>

namespace m2 {

enum class SchedulingPolicy { kFcfs, kPriority };

struct EngineOptions {
  int32_t max_waiting = 1024;  // requests queued before submit refuses with kUnavailable
  bool prefix_caching = true;
  bool chunked_prefill = true;
  int32_t long_prefill_tokens = 0;  // most prompt tokens of one sequence a step; 0 is no limit
  SchedulingPolicy policy = SchedulingPolicy::kFcfs;
  bool share_by_client = true;  // clients take turns; off, requests start as they came
  std::chrono::milliseconds step_deadline{30000};  // a step that takes longer is a fault
  uint64_t cache_key = 0;                          // keys the prefix cache's hash; random at start
  bool check_invariants = false;                   // after every step; for tests
};

}  // namespace m2
