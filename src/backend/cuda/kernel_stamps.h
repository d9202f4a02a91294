// When each kernel of a step began to have the device to itself, by the device's clock: what a
// step's time goes to. Kernels leave their stamps in host memory, beside their marks.
//
// Thread-safety: the rank's thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "backend/cuda/device_memory.h"
#include "backend/cuda/kernel_mark.h"
#include "model/ops.h"

namespace m2 {

class KernelStamps {
 public:
  KernelStamps() = default;  // notes nothing
  static Result<KernelStamps> make(int32_t num_layers) {
    KernelStamps stamps;
    stamps.count_ = (num_layers + 1) * kNumKernels;
    M2_ASSIGN(stamps.memory_, PinnedMemory::make(stamps.count_ * sizeof(uint64_t)));
    std::fill_n(stamps.all(), stamps.count_, 0);
    return stamps;
  }

  bool notes() const { return count_ > 0; }
  // Null where nothing is noted. `layer` is -1 for what belongs to none.
  uint64_t* at(KernelName name, int32_t layer) const {
    if (!notes()) return nullptr;
    return all() + (int64_t{layer} + 1) * kNumKernels + static_cast<int32_t>(name);
  }
  // Of a step whose kernels have all ended, the last of them KernelName::kEnd. Forgets it.
  std::vector<KernelTime> take() {
    std::vector<std::pair<uint64_t, KernelName>> begins;
    for (int32_t i = 0; i < count_; ++i) {
      const uint64_t begin = std::exchange(all()[i], 0);
      if (begin > 0) begins.emplace_back(begin, static_cast<KernelName>(i % kNumKernels));
    }
    std::sort(begins.begin(), begins.end());
    std::vector<KernelTime> times;
    for (size_t i = 0; i + 1 < begins.size(); ++i) {
      const std::string_view name = kernel_name(begins[i].second);
      auto time = std::find_if(times.begin(), times.end(),
                               [&](const KernelTime& one) { return one.name == name; });
      if (time == times.end()) time = times.insert(times.end(), {name});
      ++time->count;
      time->seconds += static_cast<double>(begins[i + 1].first - begins[i].first) * 1e-9;
    }
    return times;
  }

 private:
  uint64_t* all() const { return reinterpret_cast<uint64_t*>(memory_.data()); }

  PinnedMemory memory_;
  int32_t count_ = 0;
};

}  // namespace m2
