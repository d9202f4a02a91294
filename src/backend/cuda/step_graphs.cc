#include "backend/cuda/step_graphs.h"

#include <algorithm>

#include "backend/cuda/cuda_error.h"
#include "base/check.h"

namespace m2 {
namespace {

constexpr int32_t kMostByDefault = 512;
// Rounded up from what GpuRuntime.ThePlanHoldsWhatIsTaken measures: of one graph, and of a layer's
// kernels in it.
constexpr size_t kGraphBytes = size_t{96} << 10, kLayerBytes = size_t{40} << 10;

}  // namespace

// 1, 2, 4, then every multiple of 8 to 256 and of 16 from there, as far as sequences may decode.
std::vector<int32_t> StepGraphs::sizes_for(const GraphOptions& options, const OpsLimits& limits) {
  std::vector<int32_t> sizes = options.sizes;
  const int32_t most = options.max_size > 0 ? options.max_size : kMostByDefault;
  if (sizes.empty()) {
    const int32_t wanted = std::min(most, limits.max_sequences);
    for (int32_t size = 1; sizes.empty() || sizes.back() < wanted;) {
      sizes.push_back(size);
      size += size < 4 ? size : size < 8 ? 4 : size < 256 ? 8 : 16;
    }
  }
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  // No step has more tokens than the first size past the limit can take.
  const auto enough = std::lower_bound(sizes.begin(), sizes.end(), limits.max_step_tokens);
  if (enough != sizes.end()) sizes.erase(enough + 1, sizes.end());
  return sizes;
}

StepGraphs::StepGraphs(const GraphOptions& options, const OpsLimits& limits)
    : mode_wanted_(options.mode),
      sizes_(sizes_for(options, limits)),
      full_(sizes_.size()),
      pieced_(sizes_.size()) {}

StepGraphs::~StepGraphs() {
  const auto destroy = [](std::vector<Graph>& graphs) {
    for (Graph& graph : graphs) {
      if (graph.graph != nullptr) (void)cudaGraphExecDestroy(graph.graph);
    }
  };
  destroy(full_);
  for (std::vector<Graph>& graphs : pieced_) destroy(graphs);
}

size_t StepGraphs::bytes(int32_t num_layers) const {
  const bool full = mode_wanted_ != GraphMode::kNone && mode_wanted_ != GraphMode::kPiecewise;
  const bool pieces =
      mode_wanted_ != GraphMode::kNone && mode_wanted_ != GraphMode::kFullDecodeOnly;
  return (full ? sizes_.size() * (kGraphBytes + num_layers * kLayerBytes) : 0) +
         (pieces ? sizes_.size() * (num_layers + 1) * kGraphBytes : 0);
}

int32_t StepGraphs::padded(int32_t tokens) const {
  const auto size = std::lower_bound(sizes_.begin(), sizes_.end(), tokens);
  return size == sizes_.end() ? tokens : *size;
}

Status StepGraphs::begin(int32_t padded_tokens, bool decode, cudaStream_t stream) {
  mode_ = Mode::kDirect;
  pieces_ = nullptr;
  const auto size = std::lower_bound(sizes_.begin(), sizes_.end(), padded_tokens);
  if (mode_wanted_ == GraphMode::kNone || size == sizes_.end()) return {};
  const size_t index = size - sizes_.begin();
  if (decode && mode_wanted_ != GraphMode::kPiecewise) return start(full_[index], stream);
  if (mode_wanted_ == GraphMode::kFullDecodeOnly) return {};
  pieces_ = &pieced_[index];
  piece_ = 0;
  if (pieces_->empty()) pieces_->resize(1);
  return start(pieces_->front(), stream);
}

Status StepGraphs::start(Graph& graph, cudaStream_t stream) {
  current_ = &graph;
  trace_ = 0;
  mode_ = graph.graph != nullptr ? Mode::kReplay : Mode::kRecord;
  if (mode_ == Mode::kReplay) return {};
  // Relaxed: a kernel's first launch may load its code.
  return cuda_status(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed),
                     "recording a step");
}

Status StepGraphs::finish(cudaStream_t stream) {
  const Mode mode = mode_;
  mode_ = Mode::kDirect;
  if (mode == Mode::kDirect) return {};
  if (mode == Mode::kRecord) {
    cudaGraph_t graph = nullptr;
    M2_TRY(cuda_status(cudaStreamEndCapture(stream, &graph), "recording a step"));
    const cudaError_t error = cudaGraphInstantiate(&current_->graph, graph, 0);
    (void)cudaGraphDestroy(graph);
    M2_TRY(cuda_status(error, "making a step's graph"));
    M2_TRY(cuda_status(cudaGraphUpload(current_->graph, stream), "a step's graph"));
    current_->trace = trace_;
  }
  M2_CHECK(trace_ == current_->trace, "a replayed step's ops are not those that were recorded");
  return cuda_status(cudaGraphLaunch(current_->graph, stream), "a step's graph");
}

Status StepGraphs::resume(cudaStream_t stream) {
  if (pieces_ == nullptr) return {};
  if (++piece_ == pieces_->size()) pieces_->emplace_back();
  return start((*pieces_)[piece_], stream);
}

Status StepGraphs::end(cudaStream_t stream) {
  pieces_ = nullptr;
  return finish(stream);
}

}  // namespace m2
