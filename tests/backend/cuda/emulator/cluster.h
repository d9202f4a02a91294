// Blocks of a kernel that run together and send into each other's shared memory.
//
// Thread-safety: none; as block.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace m2::emulator {

class Block;
class Machine;
struct Thread;

class Cluster {
 public:
  explicit Cluster(Machine& machine) : machine_(machine) {}

  // In the order of ranks; one that has ended leaves.
  void add(Block& block);
  void leave(Block& block);

  // Of the thread that runs, in turn: waits until all threads of all blocks have arrived.
  void arrive();
  void wait();
  // Sends bytes to `place` of another block's shared memory, whose barrier counts them when they
  // land. Both as the block that runs sees its own.
  void send(int32_t rank, void* place, std::span<const std::byte> bytes, uint64_t* barrier);

 private:
  Machine& machine_;
  std::vector<Block*> blocks_;  // null: it has ended
  int64_t missing_ = 0, threads_ = 0;
  uint32_t phase_ = 0;
  std::vector<Thread*> waiting_;
};

}  // namespace m2::emulator
