// Which plug-in holds the kernels of this machine's GPUs. CUDA 13 compiles for compute capability
// 7.5 and later, so 7.0 and 7.2 have a plug-in of their own; older GPUs have none.
//
// Thread-safety: any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "backend/backend.h"
#include "backend/plugin.h"
#include "base/error.h"

namespace m2 {

struct CudaDevice {
  std::string name{};
  int32_t capability = 0;  // as 75 for 7.5
};

// What the driver counts first; none without a driver or a GPU.
std::optional<CudaDevice> first_cuda_device();

// The file to open; null: none serves it.
const char* cuda_plugin_for(int32_t capability);

// What the ops of one rank take, by whichever plug-in is here; null without any.
PluginMemory find_cuda_memory();

// Opens the plug-in for the device. Without one, or for a test: kCudaPlugin, which says why it
// cannot be used. Errors name the device's compute capability.
Result<std::unique_ptr<Backend>> open_cuda(const std::optional<CudaDevice>& device,
                                           const BackendOptions& options);

}  // namespace m2
