// Counters and gauges, read by /metrics and the log line while the engine runs.
//
// Thread-safety: written by the engine thread, read by any; each value is right, the set of them
// is not one moment's.
#pragma once

#include <atomic>
#include <cstdint>

namespace m2 {

struct EngineStats {
  std::atomic<int64_t> running{0}, waiting{0};           // sequences
  std::atomic<int64_t> blocks_total{0}, blocks_used{0};  // used: referenced by a sequence
  std::atomic<int64_t> prompt_tokens{0}, generation_tokens{0};
  std::atomic<int64_t> prefix_queries{0}, prefix_hits{0};  // tokens
  std::atomic<int64_t> preemptions{0};
  std::atomic<int64_t> heartbeat_ns{0};  // steady clock, each turn of the loop
};

}  // namespace m2
