// A kernel that was launched: the blocks that are still to begin and to end, and whether the kernel
// ahead of it has ended, for which threads of early blocks wait.
//
// Thread-safety: none; machine.h says who runs.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace m2::emulator {

struct Thread;

struct Launch {
  dim3 blocks, threads;
  size_t shared_bytes = 0;
  bool overlap = false;          // it may begin before the kernel ahead of it has ended
  std::function<void()> kernel;  // of one thread
};

struct Grid {
  explicit Grid(const Launch& of)
      : launch(of), unfinished(of.blocks.x * of.blocks.y * of.blocks.z) {
    for (unsigned i = 0; i < unfinished; ++i) {
      to_come.push_back(
          {i % of.blocks.x, i / of.blocks.x % of.blocks.y, i / of.blocks.x / of.blocks.y});
    }
  }

  const Launch& launch;
  std::vector<uint3> to_come;
  uint32_t unfinished;
  bool previous_ended = false;
  std::vector<Thread*> waiting;  // for that
};

}  // namespace m2::emulator
