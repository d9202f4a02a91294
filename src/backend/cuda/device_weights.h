// A rank's weights on its GPU, and the way there: every loader thread fills pinned stages of its
// own, one while the other is copied, so reading and copying go on side by side and the host never
// holds more than the stages.
//
// Thread-safety: as model/weight_block.h says.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "backend/cuda/device_memory.h"
#include "model/weight_block.h"

namespace m2 {

class DeviceWeights final : public WeightBlock {
 public:
  static Result<std::unique_ptr<DeviceWeights>> make(size_t bytes, int32_t device);
  ~DeviceWeights() override;

  std::byte* base() override { return memory_.data(); }
  Status put(size_t offset, size_t bytes, const Fill& fill) override;
  // On the device, from a copy of the pool.
  Result<bool> put_runs(size_t offset, const RandomRuns& runs) override;
  // Frees stages and pools too.
  Status finish() override;

 private:
  // A thread's: pieces lie one after another in a stage until it is full.
  struct Lane {
    PinnedMemory stages;  // two, of kMostPieceBytes
    Event copied[2];
    Stream stream;
    int current = 0;
    size_t used = 0;  // of the current stage
  };

  explicit DeviceWeights(int32_t device) : device_(device) {}
  Result<std::unique_ptr<Lane>> take_lane();
  Status put(Lane& lane, size_t offset, size_t bytes, const Fill& fill);
  Result<const std::byte*> device_pool(std::span<const std::byte> pool);

  const int32_t device_;
  DeviceMemory memory_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Lane>> idle_;
  std::map<const std::byte*, DeviceMemory> pools_;  // by where the host has them
};

}  // namespace m2
