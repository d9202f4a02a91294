// A typed view of memory that somebody else owns: no allocation, no arithmetic. Row-major.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "base/dtype.h"

namespace m2 {

struct TensorView {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  int rank = 0;
  std::array<int64_t, 4> shape{};

  int64_t elements() const {
    int64_t count = 1;
    for (int i = 0; i < rank; ++i) count *= shape[i];
    return count;
  }
  size_t bytes() const { return static_cast<size_t>(elements()) * dtype_bytes(dtype); }
  bool empty() const { return data == nullptr; }

  template <typename T>
  const T* as() const {
    M2_CHECK(sizeof(T) == dtype_bytes(dtype), "a {} tensor read as {}-byte elements",
             dtype_name(dtype), sizeof(T));
    return static_cast<const T*>(data);
  }
};

}  // namespace m2
