// Decode steps as CUDA graphs: the kernels of a step are recorded when a step of its padded size
// comes the second time, and replayed from then on. What differs between such steps lies in the
// step's upload, whose places do not change; so a replay computes the same bits as the launches
// would.
//
// The ops go on to be called while a graph is replayed, and do nothing. What they were called with
// is compared with what was recorded.
//
// Thread-safety: the rank's thread.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

#include "base/error.h"

namespace m2 {

class StepGraphs {
 public:
  // Up to so many rows a graph is made; 0: none at all.
  explicit StepGraphs(int32_t max_rows) : graphs_(sizes(max_rows)) {}
  ~StepGraphs();
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  // The rows that a decode step of `rows` is padded to: whether or not graphs are used, so that
  // both run the same kernels.
  static int32_t padded(int32_t rows);

  // Starts a decode step of padded(rows) rows.
  Status begin(int32_t padded_rows, cudaStream_t stream);
  // An op calls this first, with what it was given; true: it is in the graph, do nothing.
  bool skip(const void* argument) {
    if (mode_ == Mode::kDirect) return false;
    trace_ = (trace_ ^ reinterpret_cast<uintptr_t>(argument)) * 0x100000001b3u;
    return mode_ == Mode::kReplay;
  }
  // After the step's last op: launches what was recorded, now or before.
  Status end(cudaStream_t stream);

 private:
  enum class Mode : uint8_t { kDirect, kRecord, kReplay };
  struct Graph {
    bool seen = false;  // once without: what the first launch of a kernel loads is no part of it
    cudaGraphExec_t graph = nullptr;
    uint64_t trace = 0;
  };
  static size_t index_of(int32_t padded_rows);
  static size_t sizes(int32_t max_rows);

  std::vector<Graph> graphs_;
  Graph* current_ = nullptr;
  Mode mode_ = Mode::kDirect;
  uint64_t trace_ = 0;
};

}  // namespace m2
