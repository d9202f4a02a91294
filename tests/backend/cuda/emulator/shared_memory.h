// The shared memory of blocks. What kernels declare `__shared__` is thread-local in this library,
// and all of that is the block's that runs; a block that waits for its turn has its own kept aside.
// What a launch adds is the block's throughout.
//
// Nothing may be read that was not written: both begin as bytes of one value, of which 0xff makes
// NaN.
//
// Thread-safety: none; the thread that enters is the one that runs the block.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace m2::emulator {

class SharedMemory {
 public:
  SharedMemory(size_t dynamic_bytes, std::byte unwritten);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  // Puts this block's memory where its kernel looks for it.
  void enter();
  std::byte* dynamic() const { return dynamic_; }  // [dynamic_bytes] aligned to 1,024 bytes
  // Where another block of the same kernel has what this one has at `place`: once it has entered.
  void* place_in(const SharedMemory& other, void* place) const;

 private:
  const std::byte unwritten_;
  std::vector<std::byte> aside_, dynamic_memory_;
  std::byte* dynamic_;
};

}  // namespace m2::emulator
