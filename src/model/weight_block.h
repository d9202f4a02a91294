// Where a loader puts one rank's weights: a block of weights_bytes() that the ops read, in the
// host's memory or in a device's.
//
// Thread-safety: put() from several threads, for parts that do not overlap; the rest from one.
#pragma once

#include <cstddef>
#include <functional>

#include "base/error.h"
#include "model/random_runs.h"

namespace m2 {

class WeightBlock {
 public:
  // The most that one put() takes: a device's stages are no larger.
  static constexpr size_t kMostPieceBytes = size_t{4} << 20;
  using Fill = std::function<Status(std::byte* to)>;

  virtual ~WeightBlock() = default;
  // What weights_at() makes its views of. A device's is not to be read here.
  virtual std::byte* base() = 0;
  // Bytes [offset, offset + bytes) become what `fill` writes: at the place itself, or to a stage
  // from which they are copied while the next ones are filled.
  virtual Status put(size_t offset, size_t bytes, const Fill& fill) = 0;
  // The same of random values, whole runs at an offset of 16 bytes, which a device makes for
  // itself; false: this block does not, and nothing was put.
  virtual Result<bool> put_runs(size_t, const RandomRuns&) { return false; }
  // Waits until all that was put is there.
  virtual Status finish() = 0;
};

// In host memory that somebody else holds.
class HostBlock : public WeightBlock {
 public:
  explicit HostBlock(std::byte* base) : base_(base) {}
  std::byte* base() override { return base_; }
  Status put(size_t offset, size_t, const Fill& fill) override { return fill(base_ + offset); }
  Status finish() override { return {}; }

 private:
  std::byte* base_;
};

}  // namespace m2
