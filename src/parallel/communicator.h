// What the ranks of one model say to each other. An op that needs a reduction is given one.
//
// Sums are fp32, added in rank order and so bitwise equal on every rank and in every run. Memory is
// that of the ranks' device; on a GPU calls enqueue on the rank's stream.
//
// Thread-safety: each rank has its own object, used by its rank thread; abort() from any thread.
// Faults: after a peer failed or abort() was called, calls return at once with undefined contents
// and status() says why: the rank notices at the end of the step.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/error.h"

namespace m2 {

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int32_t rank() const = 0;
  virtual int32_t size() const = 0;

  // values[i] = the sum of all ranks' values[i].
  virtual void all_reduce_sum(float* values, size_t count) = 0;
  // Everybody's data becomes that of `root`.
  virtual void broadcast(void* data, size_t bytes, int32_t root) = 0;
  // all = every rank's `bytes` at mine, in rank order. `all` holds size() * bytes.
  virtual void all_gather(const void* mine, size_t bytes, void* all) = 0;
  virtual void barrier() = 0;

  // Frees every rank that waits in a call, now and from now on.
  virtual void abort() = 0;
  virtual Status status() const = 0;
};

}  // namespace m2
