// What the emulated GPU is there for: kernels that are right come out right whatever comes first,
// and each fault that is planted in one is seen, in some order of some hundred or by its name.
#include <gtest/gtest.h>

#include <vector>

#include "backend/cuda/portable/async_copy.cuh"
#include "backend/cuda/portable/cluster.cuh"

namespace m2::cuda {
namespace {

constexpr int32_t kThreads = 128, kBlocks = 4, kAll = kThreads * kBlocks;

enum class Fault : uint8_t { kNone, kNoBarrier, kNoWait, kNoExpectation, kNotMade, kNoArrival };

struct Args {
  const float* in;  // [kAll]
  float* out;       // [kAll]
};

__device__ int32_t own(int32_t i = threadIdx.x) { return blockIdx.z * kThreads + i; }

// Puts each block's part into the opposite order.
template <Fault kFault>
__global__ void reverse_kernel(Args a, Mark) {
  __shared__ float part[kThreads];
  wait_for_previous();
  part[threadIdx.x] = a.in[own()];
  if (kFault != Fault::kNoBarrier) __syncthreads();
  a.out[own()] = part[kThreads - 1 - threadIdx.x];
}

// The same by copies that the threads do not wait for at once.
template <Fault kFault>
__global__ void reverse_async_kernel(Args a, Mark) {
  M2_DYNAMIC_SHARED(float, 16, part);
  wait_for_previous();
  if (threadIdx.x < kThreads / 4) copy_async(part + 4 * threadIdx.x, a.in + own(4 * threadIdx.x));
  commit_copies();
  if (kFault != Fault::kNoWait) wait_copies<0>();
  if (kFault != Fault::kNoBarrier) __syncthreads();
  a.out[own()] = part[kThreads - 1 - threadIdx.x];
}

// The same by one bulk copy.
template <Fault kFault>
__global__ void reverse_bulk_kernel(Args a, Mark) {
  M2_DYNAMIC_SHARED(float, 16, part);
  __shared__ uint64_t full;
  constexpr uint32_t kBytes = kThreads * sizeof(float);
  if (threadIdx.x == 0 && kFault != Fault::kNotMade) init_barrier(&full, 1);
  if (kFault != Fault::kNoBarrier) __syncthreads();
  wait_for_previous();
  if (threadIdx.x == 0) {
    if (kFault == Fault::kNoExpectation) arrive(&full);
    if (kFault != Fault::kNoExpectation && kFault != Fault::kNoArrival) expect_bytes(&full, kBytes);
    copy_bulk(part, a.in + own(0), kBytes, &full);
  }
  if (kFault != Fault::kNoWait) wait_barrier(&full, 0);
  a.out[own()] = part[kThreads - 1 - threadIdx.x];
}

// Every block sends its part to the one across its cluster.
template <Fault kFault>
__global__ void exchange_kernel(Args a, Mark) {
  __shared__ float part[kThreads];
  __shared__ uint64_t full;
  if (threadIdx.x == 0) {
    init_barrier(&full, 1);
    expect_bytes(&full, sizeof(part));
  }
  arrive_cluster();
  wait_for_previous();
  if (kFault != Fault::kNoBarrier) wait_cluster();
  send_cluster(&part[threadIdx.x], a.in[own()], &full, 1 - blockIdx.z % 2);
  if (kFault != Fault::kNoWait) wait_barrier(&full, 0);
  a.out[own()] = part[threadIdx.x];
}

// Of the second of two kernels in a row.
template <Fault kFault>
__global__ void copy_kernel(Args a, Mark mark) {
  if (kFault != Fault::kNoWait) wait_for_previous(), start_next(mark);
  a.out[own()] = a.in[own()];
}

// Lets the kernel after it begin while the one ahead may still work.
__global__ void letting_kernel(Args a, Mark) {
  let_next_start();
  wait_for_previous();
  a.out[own()] = a.in[own()];
}

using Kernel = void (*)(Args, Mark);

class Emulator : public ::testing::Test {
 protected:
  Emulator() {
    for (int32_t i = 0; i < kAll; ++i) in_[i] = static_cast<float>(i + 1);
    (void)cudaStreamCreateWithFlags(&stream_, 0);
  }
  ~Emulator() override { (void)cudaStreamDestroy(stream_); }

  void launch(Kernel kernel, const std::vector<float>& in, std::vector<float>& out,
              unsigned cluster = 1) {
    cudaLaunchAttribute attributes[2];
    attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[0].val.programmaticStreamSerializationAllowed = 1;
    attributes[1].id = cudaLaunchAttributeClusterDimension;
    attributes[1].val.clusterDim = {1, 1, cluster};
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(1, 1, kBlocks);
    config.blockDim = kThreads;
    config.dynamicSmemBytes = kThreads * sizeof(float);
    config.stream = stream_;
    config.attrs = attributes;
    config.numAttrs = 2;
    EXPECT_EQ(cudaLaunchKernelEx(&config, kernel, Args{in.data(), out.data()}, Mark{}),
              cudaSuccess);
  }
  // How many of some hundred runs give what `from` says of every place.
  template <typename From>
  int32_t wrong(Kernel kernel, const From& from, unsigned cluster = 1) {
    int32_t wrong = 0;
    for (int32_t run = 0; run < kRuns; ++run) {
      std::vector<float> out(kAll);
      launch(kernel, in_, out, cluster);
      (void)cudaStreamSynchronize(stream_);
      for (int32_t i = 0; i < kAll; ++i) {
        if (out[i] == in_[from(i)]) continue;
        ++wrong;
        break;
      }
    }
    return wrong;
  }
  static int32_t reversed(int32_t i) {
    return i / kThreads * kThreads + kThreads - 1 - i % kThreads;
  }
  static int32_t exchanged(int32_t i) { return (i / kThreads ^ 1) * kThreads + i % kThreads; }

  static constexpr int32_t kRuns = 100;
  std::vector<float> in_ = std::vector<float>(kAll);
  cudaStream_t stream_ = nullptr;
};
using EmulatorDeathTest = Emulator;

TEST_F(Emulator, ABarrier) {
  EXPECT_EQ(wrong(reverse_kernel<Fault::kNone>, reversed), 0);
  EXPECT_GT(wrong(reverse_kernel<Fault::kNoBarrier>, reversed), 0);
}

TEST_F(Emulator, AsynchronousCopies) {
  EXPECT_EQ(wrong(reverse_async_kernel<Fault::kNone>, reversed), 0);
  EXPECT_GT(wrong(reverse_async_kernel<Fault::kNoWait>, reversed), 0);
  EXPECT_GT(wrong(reverse_async_kernel<Fault::kNoBarrier>, reversed), 0);
}

TEST_F(EmulatorDeathTest, BulkCopies) {
  EXPECT_EQ(wrong(reverse_bulk_kernel<Fault::kNone>, reversed), 0);
  const auto see = [&](Kernel kernel) {
    if (wrong(kernel, reversed) > 0) emulator::fault("wrong results");
  };
  EXPECT_DEATH(see(reverse_bulk_kernel<Fault::kNoWait>), "while copies into it|wrong results");
  EXPECT_DEATH(see(reverse_bulk_kernel<Fault::kNoBarrier>), "before it is made");
  EXPECT_DEATH(see(reverse_bulk_kernel<Fault::kNotMade>), "before it is made");
  EXPECT_DEATH(see(reverse_bulk_kernel<Fault::kNoExpectation>),
               "while copies into it|wrong results");
  EXPECT_DEATH(see(reverse_bulk_kernel<Fault::kNoArrival>),
               "hangs.*wait for a barrier in shared memory");
}

TEST_F(EmulatorDeathTest, Clusters) {
  EXPECT_EQ(wrong(exchange_kernel<Fault::kNone>, exchanged, 2), 0);
  const auto see = [&](Kernel kernel) {
    if (wrong(kernel, exchanged, 2) > 0) emulator::fault("wrong results");
  };
  EXPECT_DEATH(see(exchange_kernel<Fault::kNoBarrier>), "before it is made");
  EXPECT_DEATH(see(exchange_kernel<Fault::kNoWait>),
               "while copies into it|that has ended|wrong results");
}

TEST_F(Emulator, TheKernelAhead) {
  const auto wrong_after = [&](Kernel second) {
    int32_t wrong = 0;
    for (int32_t run = 0; run < kRuns; ++run) {
      std::vector<float> between(kAll), out(kAll);
      launch(copy_kernel<Fault::kNone>, in_, between);
      launch(second, between, out);
      (void)cudaStreamSynchronize(stream_);
      wrong += out != in_;
    }
    return wrong;
  };
  EXPECT_EQ(wrong_after(copy_kernel<Fault::kNone>), 0);
  EXPECT_GT(wrong_after(copy_kernel<Fault::kNoWait>), 0);
}

TEST_F(Emulator, TheKernelBeforeTheOneAhead) {
  const auto wrong_after = [&](Kernel second, Kernel third) {
    int32_t wrong = 0;
    for (int32_t run = 0; run < kRuns; ++run) {
      std::vector<float> first_out(kAll), second_out(kAll), out(kAll);
      launch(copy_kernel<Fault::kNone>, in_, first_out);
      launch(second, in_, second_out);
      launch(third, first_out, out);
      (void)cudaStreamSynchronize(stream_);
      wrong += out != in_;
    }
    return wrong;
  };
  EXPECT_EQ(wrong_after(letting_kernel, copy_kernel<Fault::kNone>), 0);
  EXPECT_EQ(wrong_after(copy_kernel<Fault::kNone>, copy_kernel<Fault::kNoWait>), 0);
  EXPECT_GT(wrong_after(letting_kernel, copy_kernel<Fault::kNoWait>), 0);
}

TEST_F(Emulator, WhatADeviceRefuses) {
  cudaLaunchConfig_t config = {};
  config.stream = stream_;
  config.gridDim = 1;
  const auto refusal = [&] {
    const Args args{in_.data(), in_.data()};
    return cudaLaunchKernelEx(&config, copy_kernel<Fault::kNone>, args, Mark{});
  };
  config.blockDim = 2048;
  EXPECT_EQ(refusal(), cudaErrorInvalidConfiguration);
  config.blockDim = 32;
  config.dynamicSmemBytes = size_t{49} << 10;
  EXPECT_EQ(refusal(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFuncSetAttribute(copy_kernel<Fault::kNone>,
                                 cudaFuncAttributeMaxDynamicSharedMemorySize, 64 << 10),
            cudaSuccess);
  EXPECT_EQ(refusal(), cudaSuccess);
}

}  // namespace
}  // namespace m2::cuda
