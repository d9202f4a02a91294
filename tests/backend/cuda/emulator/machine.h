// Runs kernels on the host, block by block, as a GPU may: in any order that a kernel allows.
// Threads change places where they wait for each other, blocks now and then, copies land when
// chance has it, and blocks of the next kernels begin early. All chance comes from one seed, so
// that a failure can be had again.
//
// What a GPU does to a wrong kernel is a fault here (fault.h). Not seen are races between two
// points at which threads wait, in memory too; nor is time.
//
// Thread-safety: whoever calls run() holds mutex(). The rest is for what runs.
#pragma once

#include <cuda_runtime_api.h>

#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "tests/backend/cuda/emulator/block.h"
#include "tests/backend/cuda/emulator/chance.h"
#include "tests/backend/cuda/emulator/grid.h"

// What a kernel reads of itself; the machine keeps them.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace m2::emulator {

class Machine {
 public:
  explicit Machine(uint32_t seed) : chance_(seed) {}

  std::mutex& mutex() { return mutex_; }
  // Kernels that follow each other on a stream, with nothing between them.
  void run(std::span<const Launch* const> kernels);

  // The thread that runs.
  Thread& current() { return *current_; }
  // Returns when the thread can run, of which its block has been told or will be.
  void suspend();
  // Others may run first: of the block now, or by chance, or of other blocks.
  void give_way();
  void may_give_way();
  void give_way_to_blocks();
  // Returns when the kernel ahead of the thread's has ended.
  void wait_for_previous();
  // Blocks of the next kernel may begin.
  void let_next_start();
  Chance& chance() { return chance_; }

 private:
  static void run_threads(void* thread);
  void begin_cluster(Grid& grid);
  void begin_early(std::span<const Launch* const> coming, std::deque<std::unique_ptr<Grid>>& grids);
  std::unique_ptr<Block>& pick();
  void retire(std::unique_ptr<Block>& block);
  std::vector<Thread*> take_threads(size_t count);
  void end_previous(Grid& grid);
  void resume(Block& block);
  bool can_run(Block& block);
  void switch_from(Fiber& fiber, Thread& to);
  [[noreturn]] void stuck() const;

  std::mutex mutex_;
  Chance chance_;
  Thread* current_ = nullptr;
  Fiber main_;
  std::vector<std::unique_ptr<Thread>> made_;
  std::vector<Thread*> idle_;
  std::vector<std::unique_ptr<Block>> under_way_;
};

// That of this library: what a kernel calls has no other way to it. Its seed is M2_EMULATOR_SEED, 1
// where that is not set.
extern Machine the_machine;
inline Machine& machine() { return the_machine; }

}  // namespace m2::emulator
