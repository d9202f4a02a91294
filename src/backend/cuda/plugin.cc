// What `m2` opens by name: the one exported function, and the backend behind it.
#include "backend/plugin.h"

#include <algorithm>
#include <cstring>

#include "backend/backend.h"
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/cuda_ops.h"
#include "backend/cuda/device_processes.h"
#include "backend/cuda/device_rates.h"
#include "backend/cuda/device_weights.h"

namespace m2 {
namespace {

class CudaBackend final : public Backend {
 public:
  CudaBackend(int32_t devices, const cudaDeviceProp& first, const BackendOptions& options)
      : devices_(devices),
        first_(first),
        graphs_(options.graphs),
        note_times_(options.note_kernel_times) {}

  std::string name() const override { return "cuda"; }
  std::string detail() const override {
    int runtime = 0, driver = 0;
    (void)cudaRuntimeGetVersion(&runtime);
    (void)cudaDriverGetVersion(&driver);
    const int32_t generation = cuda::code_generation();
    return fmt::format(
        "cuda, {} (compute capability {}.{}, {} multiprocessors, {:.1f} GiB), {} device{}, "
        "portable kernels made for {}.{}, CUDA {}.{}, driver for CUDA {}.{}",
        first_.name, first_.major, first_.minor, first_.multiProcessorCount,
        static_cast<double>(first_.totalGlobalMem) / 1073741824.0, devices_,
        devices_ == 1 ? "" : "s", generation / 10, generation % 10, runtime / 1000,
        runtime % 1000 / 10, driver / 1000, driver % 1000 / 10);
  }
  bool may_spin() const override { return false; }
  Status serves(const ModelConfig& config, const Shard& shard) const override {
    if (shard.size > devices_) {
      return fail(ErrorKind::kUnsupported, "tensor-parallel-size",
                  "tensor-parallel-size {} needs as many GPUs, but {} {} here", shard.size,
                  devices_, devices_ == 1 ? "is" : "are");
    }
    return CudaOps::check(config, shard);
  }
  DType kv_dtype() const override { return DType::kBF16; }
  size_t free_bytes() const override {
    size_t free = 0, total = 0;
    if (cudaSetDevice(0) != cudaSuccess || cudaMemGetInfo(&free, &total) != cudaSuccess) return 0;
    return free;
  }
  size_t total_bytes() const override { return first_.totalGlobalMem; }
  std::vector<DeviceProcess> other_processes() const override { return m2::other_processes(0); }
  OpsMemory memory_for(const ModelConfig& config, const Shard& shard,
                       const OpsLimits& limits) const override {
    return CudaOps::memory_for(config, shard, limits, graphs_);
  }
  Result<DeviceRates> measure_rates() const override { return measure_device_rates(0); }
  Result<std::unique_ptr<WeightBlock>> make_weights(size_t bytes, const Shard& shard) override {
    M2_TRY(has_device(shard));
    M2_ASSIGN(auto weights, DeviceWeights::make(bytes, shard.rank));
    return weights;
  }
  Result<std::unique_ptr<Ops>> make_ops(const ModelConfig& config, const Shard& shard,
                                        const OpsLimits& limits) override {
    M2_TRY(has_device(shard));
    M2_ASSIGN(auto ops, CudaOps::create(config, shard, limits, shard.rank, graphs_, note_times_));
    return ops;
  }

 private:
  Status has_device(const Shard& shard) const {
    if (shard.rank < devices_) return {};
    return fail(ErrorKind::kUnavailable, "tensor-parallel-size", "rank {} has no GPU: {} here",
                shard.rank, devices_);
  }

  const int32_t devices_;
  const cudaDeviceProp first_;
  const GraphOptions graphs_;
  const bool note_times_;
};

std::string why_none(cudaError_t error) {
  if (error == cudaSuccess) return "none is there";
  int driver = 0;
  if (error != cudaErrorInsufficientDriver || cudaDriverGetVersion(&driver) != cudaSuccess) {
    return cudaGetErrorString(error);
  }
  // CUDA says the same of a driver that is too old and of none.
  if (driver == 0) return "no NVIDIA driver is installed";
  return fmt::format("the NVIDIA driver is for CUDA {}.{} and this plug-in for {}.{}",
                     driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000,
                     CUDART_VERSION % 1000 / 10);
}

// A plug-in that was built for other generations alone has no kernel that the device runs.
Status has_code(const cudaDeviceProp& properties) {
  if (cuda::code_generation() > 0) return {};
  (void)cudaGetLastError();
  return fail(ErrorKind::kUnsupported, "device",
              "{} has compute capability {}.{}, for which this plug-in was not built: build it "
              "again with make cuda ARCHITECTURES=all",
              properties.name, properties.major, properties.minor);
}

Result<std::unique_ptr<Backend>> open(const BackendOptions& options) {
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  if (error != cudaSuccess || devices == 0) {
    return fail(ErrorKind::kUnavailable, "device", "no NVIDIA GPU can be used: {}",
                why_none(error));
  }
  cudaDeviceProp properties{};
  M2_TRY(cuda_status(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties"));
  M2_TRY(has_code(properties));
  return std::make_unique<CudaBackend>(devices, properties, options);
}

}  // namespace
}  // namespace m2

extern "C" M2_PLUGIN_EXPORT m2::Backend* m2_open_plugin(int32_t interface,
                                                        const m2::BackendOptions& options,
                                                        m2::Error* error) {
  if (interface != m2::kPluginInterface) {
    *error = {m2::ErrorKind::kUnsupported,
              fmt::format("the plug-in has interface {}, this m2 wants {}: build both again",
                          m2::kPluginInterface, interface),
              "device"};
    return nullptr;
  }
  auto backend = m2::open(options);
  if (!backend) {
    *error = backend.error();
    return nullptr;
  }
  return backend->release();
}

extern "C" M2_PLUGIN_EXPORT const int32_t m2_plugin_interface = m2::kPluginInterface;

extern "C" M2_PLUGIN_EXPORT void m2_plugin_memory(const m2::ModelConfig& config,
                                                  const m2::Shard& shard,
                                                  const m2::OpsLimits& limits,
                                                  const m2::GraphOptions& graphs,
                                                  m2::OpsMemory* memory) {
  *memory = m2::CudaOps::memory_for(config, shard, limits, graphs);
}
