#include "backend/cuda/device_rates.h"

#include <algorithm>

#include "backend/cuda/device_memory.h"
#include "backend/cuda/portable/probe.cuh"

namespace m2 {
namespace {

constexpr size_t kBytes = size_t{2} << 30;  // many times any cache
constexpr int kTries = 10;
constexpr int32_t kRounds = 20'000;

// An event that tells the time.
class Clock {
 public:
  Clock() { (void)cudaEventCreate(&event_); }
  ~Clock() { (void)cudaEventDestroy(event_); }
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

// Seconds of the best of several launches.
template <typename Launch>
Result<double> best_of(cudaStream_t stream, const Launch& launch) {
  const Clock begin, end;
  float best = 1e9f;
  for (int i = 0; i < kTries; ++i) {
    M2_TRY(cuda_status(cudaEventRecord(begin.get(), stream), "probe"));
    launch();
    M2_TRY(cuda_status(cudaEventRecord(end.get(), stream), "probe"));
    M2_TRY(cuda_status(cudaEventSynchronize(end.get()), "probe"));
    float milliseconds = 0;
    M2_TRY(cuda_status(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()), "probe"));
    best = std::min(best, milliseconds);
  }
  return best / 1e3;
}

}  // namespace

Result<DeviceRates> measure_device_rates(int32_t device) {
  M2_TRY(cuda_status(cudaSetDevice(device), "cudaSetDevice"));
  int multiprocessors = 1;
  M2_TRY(cuda_status(
      cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device), "probe"));
  M2_ASSIGN(const DeviceMemory memory, DeviceMemory::make(kBytes, "measuring"));
  M2_TRY(cuda_status(cudaMemset(memory.data(), 0x5a, kBytes), "cudaMemset"));
  M2_TRY(cuda_status(cudaDeviceSynchronize(), "cudaMemset"));
  M2_ASSIGN(const Stream stream, Stream::make());
  const cuda::Queue queue{.stream = stream.get()};
  const cuda::ProbeArgs args{.data = reinterpret_cast<const uint4*>(memory.data()),
                             .vectors = kBytes / sizeof(uint4),
                             .rounds = kRounds,
                             .sink = reinterpret_cast<float*>(memory.data())};
  M2_ASSIGN(const double reading,
            best_of(stream.get(), [&] { cuda::launch_read_probe(args, multiprocessors, queue); }));
  double flops = 0;
  M2_ASSIGN(const double products, best_of(stream.get(), [&] {
              flops = cuda::launch_product_probe(args, multiprocessors, queue);
            }));
  M2_TRY(cuda_status(cudaPeekAtLastError(), "probe"));
  return DeviceRates{kBytes / reading, flops / products, "f16 mma.sync"};
}

}  // namespace m2
