#include "backend/cuda/step_graphs.h"

#include "backend/cuda/cuda_error.h"
#include "base/check.h"

namespace m2 {
namespace {

// 1, 2, 4, 8, then every multiple of 8.
constexpr int32_t kStep = 8;

}  // namespace

StepGraphs::~StepGraphs() {
  for (Graph& graph : graphs_) {
    if (graph.graph != nullptr) (void)cudaGraphExecDestroy(graph.graph);
  }
}

int32_t StepGraphs::padded(int32_t rows) {
  if (rows <= 2) return rows;
  if (rows <= 4) return 4;
  return (rows + kStep - 1) / kStep * kStep;
}

size_t StepGraphs::index_of(int32_t padded_rows) {
  return padded_rows < kStep ? padded_rows / 2 : 2 + padded_rows / kStep;
}

size_t StepGraphs::sizes(int32_t max_rows) {
  return max_rows == 0 ? 0 : index_of(padded(max_rows)) + 1;
}

Status StepGraphs::begin(int32_t padded_rows, cudaStream_t stream) {
  mode_ = Mode::kDirect;
  const size_t index = index_of(padded_rows);
  if (index >= graphs_.size()) return {};
  current_ = &graphs_[index];
  trace_ = 0;
  if (current_->graph != nullptr) {
    mode_ = Mode::kReplay;
  } else if (current_->seen) {
    mode_ = Mode::kRecord;
    return cuda_status(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
                       "recording a step");
  }
  current_->seen = true;
  return {};
}

Status StepGraphs::end(cudaStream_t stream) {
  const Mode mode = mode_;
  mode_ = Mode::kDirect;
  if (mode == Mode::kDirect) return {};
  if (mode == Mode::kRecord) {
    cudaGraph_t graph = nullptr;
    M2_TRY(cuda_status(cudaStreamEndCapture(stream, &graph), "recording a step"));
    const cudaError_t error = cudaGraphInstantiate(&current_->graph, graph, 0);
    (void)cudaGraphDestroy(graph);
    M2_TRY(cuda_status(error, "making a step's graph"));
    current_->trace = trace_;
  }
  M2_CHECK(trace_ == current_->trace, "a replayed step's ops are not those that were recorded");
  return cuda_status(cudaGraphLaunch(current_->graph, stream), "a step's graph");
}

}  // namespace m2
