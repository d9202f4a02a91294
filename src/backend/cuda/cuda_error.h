// CUDA's error codes as values of ours.
#pragma once

#include <cuda_runtime_api.h>

#include "base/error.h"

namespace m2 {

// Success, or an error that names the call or kernel.
inline Status cuda_status(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return {};
  return fail(ErrorKind::kInternal, "", "CUDA: {}: {} ({})", what, cudaGetErrorString(error),
              cudaGetErrorName(error));
}

}  // namespace m2
