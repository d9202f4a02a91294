// The shared memory of blocks. What kernels declare `__shared__` is thread-local in this library,
// and all of that is the block's that runs; a block that waits for its turn has its own kept aside.
// What a launch adds is the block's throughout.
//
// Both begin as bytes of 0xff, which are NaN: nothing may be read that was not written.
//
// Thread-safety: none; the thread that enters is the one that runs the block.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace m2::emulator {

class SharedMemory {
 public:
  explicit SharedMemory(size_t dynamic_bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  // Puts this block's memory where its kernel looks for it.
  void enter();
  // Where this block has what another one, which runs, sees at `place` of its own.
  std::byte* at(void* place, const SharedMemory& running);
  std::byte* dynamic() const { return dynamic_; }  // [dynamic_bytes] aligned to 1,024 bytes

 private:
  std::vector<std::byte> aside_, dynamic_memory_;
  std::byte* dynamic_;
};

}  // namespace m2::emulator
