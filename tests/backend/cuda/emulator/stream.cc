#include "tests/backend/cuda/emulator/stream.h"

#include <cstring>
#include <mutex>
#include <utility>

#include "tests/backend/cuda/emulator/machine.h"

using m2::emulator::Launch;
using m2::emulator::machine;

namespace {

constexpr uint32_t kAtOnce = 16;      // one in so many times
constexpr size_t kMostPending = 256;  // that nobody waits for

}  // namespace

void CUstream_st::enqueue(StreamItem item) {
  if (captured != nullptr) {
    captured->work.push_back(std::move(item));
    return;
  }
  pending.push_back(std::move(item));
  if (pending.size() > kMostPending || machine().chance().one_in(kAtOnce)) run_all();
}

void CUstream_st::run_all() {
  const std::scoped_lock lock(machine().mutex());
  const StreamWork work = std::exchange(pending, {});
  std::vector<const Launch*> kernels;
  for (const StreamItem& item : work) {
    if (const auto* kernel = std::get_if<std::shared_ptr<const Launch>>(&item)) {
      kernels.push_back(kernel->get());
      continue;
    }
    machine().run(std::exchange(kernels, {}));
    std::get<std::function<void()>>(item)();
  }
  machine().run(kernels);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  stream->run_all();
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  stream->run_all();
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  stream->enqueue([=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  if (!event->reached) event->stream->run_all();
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  event->stream = stream;
  event->reached = false;
  stream->enqueue([event] { event->reached = true; });
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (!event->reached && machine().chance().one_in(2)) event->stream->run_all();
  return event->reached ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (!event->reached) event->stream->run_all();
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 1;  // there is no time here
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  stream->captured = new CUgraph_st;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = std::exchange(stream->captured, nullptr);
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long) {
  *made = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  for (const StreamItem& item : graph->work) stream->enqueue(item);
  return cudaSuccess;
}
