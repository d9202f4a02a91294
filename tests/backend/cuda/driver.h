// The CUDA driver beneath the plug-in, for tests that make a device's trouble: memory that somebody
// else holds, multiprocessors that never come free. Opened by name, in the context that the plug-in
// uses.
#pragma once

#include <dlfcn.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>

namespace m2::test {

class CudaDriver {
 public:
  CudaDriver() : library_(dlopen("libcuda.so.1", RTLD_NOW)) {
    void* context = nullptr;
    int device = 0;
    ready_ = library_ != nullptr && call<unsigned>("cuInit", 0u) &&
             call<int*, int>("cuDeviceGet", &device, 0) &&
             call<void**, int>("cuDevicePrimaryCtxRetain", &context, device) &&
             call<void*>("cuCtxSetCurrent", context);
  }
  bool ready() const { return ready_; }

  template <typename... Arguments>
  bool call(const char* name, Arguments... arguments) const {
    const auto function = reinterpret_cast<int (*)(Arguments...)>(dlsym(library_, name));
    return function != nullptr && function(arguments...) == 0;
  }

 private:
  void* library_;
  bool ready_ = false;
};

// Memory of the GPU that is not the model's, but for `left` bytes.
class HeldMemory {
 public:
  HeldMemory(const CudaDriver& driver, size_t left) : driver_(driver) {
    size_t free = 0, total = 0;
    ok_ = driver.call<size_t*, size_t*>("cuMemGetInfo_v2", &free, &total) && free > left &&
          driver.call<uint64_t*, size_t>("cuMemAlloc_v2", &memory_, free - left);
  }
  ~HeldMemory() {
    if (ok_) driver_.call<uint64_t>("cuMemFree_v2", memory_);
  }
  HeldMemory(const HeldMemory&) = delete;
  HeldMemory& operator=(const HeldMemory&) = delete;
  bool ok() const { return ok_; }

 private:
  const CudaDriver& driver_;
  uint64_t memory_ = 0;
  bool ok_ = false;
};

// Launches a kernel of PTX on a stream of its own; nothing waits for it.
inline bool launch_ptx(const CudaDriver& driver, const char* ptx, const char* name, unsigned blocks,
                       unsigned threads, void** arguments) {
  void* module = nullptr;
  void* function = nullptr;
  void* stream = nullptr;
  constexpr unsigned kNonBlocking = 1;
  return driver.call<void**, const void*>("cuModuleLoadData", &module, ptx) &&
         driver.call<void**, void*, const char*>("cuModuleGetFunction", &function, module, name) &&
         driver.call<void**, unsigned>("cuStreamCreate", &stream, kNonBlocking) &&
         driver.call<void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                     void*, void**, void**>("cuLaunchKernel", function, blocks, 1u, 1u, threads, 1u,
                                            1u, 0u, stream, arguments, nullptr);
}

// An error that every later call of the process gets too.
inline bool break_context(const CudaDriver& driver) {
  return launch_ptx(driver,
                    ".version 7.0\n.target sm_70\n.address_size 64\n"
                    ".visible .entry fault() { trap; ret; }\n",
                    "fault", 1, 1, nullptr);
}

// A kernel that takes every multiprocessor and ends when it is let go: what comes after it hangs.
class BusyGpu {
 public:
  explicit BusyGpu(const CudaDriver& driver) : driver_(driver) {
    static constexpr const char* kSpin =
        ".version 7.0\n.target sm_70\n.address_size 64\n"
        ".visible .entry spin(.param .u64 place) {\n"
        ".reg .u64 %p; .reg .u32 %v; .reg .pred %on;\n"
        "ld.param.u64 %p, [place];\n"
        "AGAIN: ld.volatile.global.u32 %v, [%p];\n"
        "setp.eq.u32 %on, %v, 0;\n"
        "@%on bra AGAIN;\n"
        "ret; }\n";
    int multiprocessors = 0;
    void* arguments[] = {&word_};
    constexpr int kMultiprocessorCount = 16;
    ok_ = driver.call<void**, size_t, unsigned>(
              "cuMemHostAlloc", reinterpret_cast<void**>(const_cast<uint32_t**>(&word_)),
              sizeof(uint32_t), 0u) &&
          driver.call<int*, int, int>("cuDeviceGetAttribute", &multiprocessors,
                                      kMultiprocessorCount, 0);
    if (!ok_) return;
    *word_ = 0;
    // Two blocks of 1,024 threads fill a multiprocessor.
    ok_ = launch_ptx(driver, kSpin, "spin", 2u * static_cast<unsigned>(multiprocessors), 1024u,
                     arguments);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  ~BusyGpu() { let_go(); }
  BusyGpu(const BusyGpu&) = delete;
  BusyGpu& operator=(const BusyGpu&) = delete;

  bool ok() const { return ok_; }
  void let_go() {
    if (word_ != nullptr) *word_ = 1;
  }

 private:
  const CudaDriver& driver_;
  volatile uint32_t* word_ = nullptr;
  bool ok_ = false;
};

}  // namespace m2::test
