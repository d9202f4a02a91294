// A block of a kernel under way: its threads, what they wait for, and the copies into its shared
// memory that are still to land. The calls below are those of the thread that runs; they return
// when what it waits for has come, and other threads have run meanwhile.
//
// Thread-safety: none; machine.h says who runs.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/backend/cuda/emulator/cluster.h"
#include "tests/backend/cuda/emulator/copies.h"
#include "tests/backend/cuda/emulator/fiber.h"
#include "tests/backend/cuda/emulator/grid.h"
#include "tests/backend/cuda/emulator/shared_memory.h"

namespace m2::emulator {

class Block;
class Machine;

inline constexpr int32_t kWarpLanes = 32;

struct Thread {
  explicit Thread(void (*body)(void*)) : fiber(body, this) {}

  Fiber fiber;
  Block* block = nullptr;
  uint3 index{};
  int32_t number = 0;               // in the block
  uint32_t cluster_phase = 0;       // in which it last arrived
  const char* waits_for = nullptr;  // null: it can run
};

// What the lanes of a warp do together: all must do the same.
enum class Collective : uint8_t { kSync, kShuffle, kVote, kMatch, kProduct };

// What a lane brings to it, and what it is left with.
struct alignas(16) Slot {
  std::array<std::byte, 32> bytes;
};

class Block {
 public:
  // The threads are its own until it is finished.
  Block(Machine& machine, Grid& grid, std::shared_ptr<Cluster> cluster, uint3 index,
        std::vector<Thread*> threads);
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  Grid& grid;
  const uint3 index;

  // Waits for all threads that have not ended.
  void sync();
  // The same; returns of how many `x` is true.
  int32_t sync_and_count(bool x);
  // Waits for all lanes of the warp. Each brings a slot; the last one to come calls `combine`, if
  // there is one, on the slots of all. What is returned stays until the warp's next but one.
  const Slot* exchange(Collective kind, const Slot& own, void (*combine)(Slot*) = nullptr);
  // Waits until the phase of this parity has ended.
  void wait(uint64_t* barrier, uint32_t parity);
  // A thread came to a barrier in shared memory, and announces bytes that are to land.
  void arrive(uint64_t* barrier, int64_t expected_bytes);
  void landed(uint64_t* barrier, int64_t bytes);

  Cluster& cluster() { return *cluster_; }
  Copies& copies() { return copies_; }
  SharedMemory& memory() { return memory_; }

  // For the machine.
  bool is_slow() const { return slow_; }
  bool finished() const { return live_ == 0; }
  bool can_run() const { return !ready_.empty() || !slow_ready_.empty(); }
  Thread& take();   // one that can run
  void may_land();  // some of the copies under way, or none
  void make_ready(Thread& thread);
  void make_last(Thread& thread);  // it can run where no other can
  void end(Thread& thread);
  std::string waiting() const;  // how many threads wait for what
  const std::vector<Thread*>& threads() const { return threads_; }

 private:
  struct Warp {
    Collective kind{};
    uint32_t round = 0;
    std::vector<Thread*> here;
    std::array<std::array<Slot, kWarpLanes>, 2> slots;
  };
  struct Waiter {
    Thread* thread;
    const uint64_t* barrier;
  };
  void release(std::vector<Thread*>& threads);
  void release_if_all();
  void change_speeds();
  void phase_ended(const uint64_t* barrier);

  Machine& machine_;
  std::shared_ptr<Cluster> cluster_;
  SharedMemory memory_;
  Copies copies_;
  const bool slow_;
  const uint32_t landing_;  // one in so many changes of threads lets copies land; 0: none does
  std::vector<Thread*> threads_;
  // Those that can run. The slow ones do where no other can: those of some warps, which change.
  std::vector<Thread*> ready_, slow_ready_;
  uint32_t slow_warps_ = 0;  // by bits
  int32_t live_;
  std::vector<Thread*> at_sync_;
  int32_t counted_ = 0;
  std::vector<Warp> warps_;
  std::vector<Waiter> waiters_;
};

}  // namespace m2::emulator
