// What a kernel's host side calls of CUDA that is a template there: the launch and what is told
// about a kernel.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>

#include "tests/backend/cuda/emulator/machine.h"

namespace m2::emulator {

// Puts the kernel on the stream, or refuses what no device of compute capability 9.0 takes.
cudaError_t enqueue(const cudaLaunchConfig_t& config, const void* kernel,
                    std::function<void()> body);

}  // namespace m2::emulator

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  return ::m2::emulator::enqueue(*config, reinterpret_cast<const void*>(kernel),
                                 [=] { kernel(arguments...); });
}

template <typename... Parameters>
cudaError_t cudaFuncSetAttribute(void (*kernel)(Parameters...), cudaFuncAttribute attribute,
                                 int value) {
  return ::cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), attribute, value);
}
template <typename... Parameters>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, void (*kernel)(Parameters...)) {
  return ::cudaFuncGetAttributes(attributes, reinterpret_cast<const void*>(kernel));
}
template <typename... Parameters>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks,
                                                          void (*kernel)(Parameters...),
                                                          int threads, size_t shared_bytes) {
  return ::cudaOccupancyMaxActiveBlocksPerMultiprocessor(
      blocks, reinterpret_cast<const void*>(kernel), threads, shared_bytes);
}
