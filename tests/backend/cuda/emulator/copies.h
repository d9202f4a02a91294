// Copies into a block's shared memory that have been asked for and have not landed. What they read
// is read when they land, and until then where they put it holds nothing of use, NaN: whoever does
// not wait for them, or overwrites what they are still to read, finds out.
//
// Thread-safety: none; as block.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

namespace m2::emulator {

class Block;

class Copies {
 public:
  // Copies of 16 bytes, or zeros with a null `from`, which land in the order of their thread.
  void begin(int32_t thread, void* to, const void* from);
  // Ends a group of the thread's copies.
  void commit(int32_t thread);
  // Lands all groups of the thread but the last `left`.
  void wait(int32_t thread, int32_t left);
  // The thread arrives at the barrier once what it has begun is there.
  void arrive_after(int32_t thread, uint64_t* barrier);
  // Copies of many bytes, which land in any order and count at their barrier; what is sent was
  // read.
  void begin_bulk(void* to, const void* from, uint32_t bytes, uint64_t* barrier);
  void begin_sent(void* to, std::span<const std::byte> bytes, uint64_t* barrier);

  explicit Copies(Block& block, int32_t threads)
      : block_(block), by_thread_(threads), listed_(threads) {}
  // Lands some copy, which `pick` decides. False: there is none.
  bool land_one(uint32_t pick);
  bool has_bulk() const { return !bulk_.empty(); }
  bool any() const { return has_bulk() || num_small_ > 0; }

 private:
  enum class Kind : uint8_t { kCopy, kZero, kArrival, kGroupEnd };
  struct Small {
    Kind kind;
    void* to;
    const void* from;
  };
  struct Bulk {
    void* to;
    const void* from;
    uint32_t bytes;
    uint64_t* barrier;
    std::vector<std::byte> sent;  // in place of `from`
  };
  void begin_small(int32_t thread, const Small& small);
  void land_first(int32_t thread);

  Block& block_;
  std::vector<std::deque<Small>> by_thread_;
  int64_t num_small_ = 0;
  std::vector<int32_t> threads_;  // those that are listed: they have some, or had
  std::vector<bool> listed_;
  std::vector<Bulk> bulk_;
};

}  // namespace m2::emulator
