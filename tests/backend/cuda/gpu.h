// The GPU for tests: opened once; tests that need it say so where there is none.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "backend/backend.h"

namespace m2::test {

struct Gpu {
  std::unique_ptr<Backend> backend;
  std::string reason;  // why there is none
};

inline Gpu& gpu() {
  static Gpu gpu = [] {
    auto opened = open_backend({.device = "cuda"});
    if (!opened) return Gpu{nullptr, opened.error().message};
    return Gpu{std::move(*opened), ""};
  }();
  return gpu;
}

// Ops on the GPU; the test fails when they cannot be made. Limits made for the CPU say F32.
inline std::unique_ptr<Ops> gpu_ops(const ModelConfig& config, const Shard& shard, OpsLimits limits,
                                    Backend& backend = *gpu().backend) {
  if (limits.kv_dtype == DType::kF32) limits.kv_dtype = backend.kv_dtype();
  auto ops = backend.make_ops(config, shard, limits);
  EXPECT_TRUE(ops) << ops.error().message;
  return ops ? std::move(*ops) : nullptr;
}

}  // namespace m2::test

#define M2_NEEDS_GPU()                                                     \
  do {                                                                     \
    if (::m2::test::gpu().backend == nullptr)                              \
      GTEST_SKIP() << "needs an NVIDIA GPU: " << ::m2::test::gpu().reason; \
  } while (0)
