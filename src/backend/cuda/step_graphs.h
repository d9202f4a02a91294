// Steps as CUDA graphs: the kernels of a step are recorded when a step of its padded size comes
// first, and replayed from then on. What differs between such steps lies in the step's upload,
// whose places do not change; so a replay computes the same bits as the launches would.
//
//   full    a decode step is one graph
//   pieces  what lies between attentions is a graph each; attention, whose launch depends on the
//           rows, is launched
//
// The ops go on to be called while a graph is replayed, and do nothing. What they were called with
// is compared with what was recorded.
//
// Thread-safety: the rank's thread.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "base/error.h"

namespace m2 {

class StepGraphs {
 public:
  StepGraphs(const GraphOptions& options, const OpsLimits& limits);
  ~StepGraphs();
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  // The tokens that a step is padded to, in every mode, so that all run the same kernels; steps
  // past the largest size are not.
  int32_t padded(int32_t tokens) const;
  std::span<const int32_t> sizes() const { return sizes_; }
  // Rising, without repetitions: those asked for or the usual ones.
  static std::vector<int32_t> sizes_for(const GraphOptions& options, const OpsLimits& limits);

  // Of the device's memory that all sizes' graphs take once they are recorded, about.
  size_t bytes(int32_t num_layers) const;

  // Starts a step of padded(tokens) tokens. A decode step of which no row reads what another one
  // stores may be one graph.
  Status begin(int32_t padded_tokens, bool decode, cudaStream_t stream);
  // An op calls this first, with what it was given; true: it is in the graph, do nothing.
  bool skip(const void* argument) {
    if (mode_ == Mode::kDirect) return false;
    trace_ = (trace_ ^ reinterpret_cast<uintptr_t>(argument)) * 0x100000001b3u;
    return mode_ == Mode::kReplay;
  }
  // Around attention: ends a piece and starts the next one.
  Status pause(cudaStream_t stream) { return pieces_ == nullptr ? Status{} : finish(stream); }
  Status resume(cudaStream_t stream);
  // After the step's last op: launches what was recorded, now or before.
  Status end(cudaStream_t stream);

 private:
  enum class Mode : uint8_t { kDirect, kRecord, kReplay };
  struct Graph {
    cudaGraphExec_t graph = nullptr;
    uint64_t trace = 0;
  };
  Status start(Graph& graph, cudaStream_t stream);
  Status finish(cudaStream_t stream);

  const GraphMode mode_wanted_;
  const std::vector<int32_t> sizes_;
  std::vector<Graph> full_;                 // [sizes]
  std::vector<std::vector<Graph>> pieced_;  // [sizes][pieces]
  Graph* current_ = nullptr;
  std::vector<Graph>* pieces_ = nullptr;  // of the step under way, if it goes by pieces
  size_t piece_ = 0;
  Mode mode_ = Mode::kDirect;
  uint64_t trace_ = 0;
};

}  // namespace m2
