// Names what the device began last: every kernel but upload.cuh's leaves its mark in a word of
// host memory (portable/device.cuh), which is still there when a fault has taken the device's own.
//
// Thread-safety: last() from any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "backend/cuda/device_memory.h"
#include "backend/cuda/portable/device.cuh"

namespace m2 {

// The launches of a step, in order.
enum class KernelName : uint8_t {
  kNone,
  kEmbed,
  kInputNorm,
  kQkv,
  kQkNorm,
  kAttention,
  kOProj,
  kRouterNorm,
  kRouter,
  kChoice,
  kGateUp,
  kDown,
  kFinalNorm,
  kLmHead,
  kSample,
  kEnd,
};
inline constexpr int32_t kNumKernels = static_cast<int32_t>(KernelName::kEnd) + 1;

inline std::string_view kernel_name(KernelName name) {
  static constexpr std::array<std::string_view, kNumKernels> kNames = {"",
                                                                       "embedding",
                                                                       "norm",
                                                                       "q, k and v",
                                                                       "q and k norm",
                                                                       "attention",
                                                                       "o_proj",
                                                                       "norm before the router",
                                                                       "router",
                                                                       "choice of experts",
                                                                       "experts' gate and up",
                                                                       "experts' down",
                                                                       "final norm",
                                                                       "lm_head",
                                                                       "sampling",
                                                                       "end of the step"};
  return kNames[static_cast<size_t>(name)];
}

class KernelMark {
 public:
  static Result<KernelMark> make() {
    KernelMark mark;
    M2_ASSIGN(mark.memory_, PinnedMemory::make(sizeof(uint32_t)));
    *mark.word() = 0;
    return mark;
  }

  cuda::Mark at(KernelName name, int32_t layer) const {
    return {word(), static_cast<uint32_t>(name) | static_cast<uint32_t>(layer + 1) << 8};
  }
  // "experts' gate and up of layer 3"; empty before the first kernel.
  std::string last() const {
    if (word() == nullptr) return "";
    const uint32_t value = std::atomic_ref<uint32_t>(*word()).load(std::memory_order_relaxed);
    if ((value & 0xff) == 0 || (value & 0xff) >= kNumKernels) return "";
    const std::string_view name = kernel_name(static_cast<KernelName>(value & 0xff));
    const auto layer = static_cast<int32_t>(value >> 8) - 1;
    return layer < 0 ? std::string(name) : fmt::format("{} of layer {}", name, layer);
  }

 private:
  uint32_t* word() const { return reinterpret_cast<uint32_t*>(memory_.data()); }

  PinnedMemory memory_;
};

}  // namespace m2
