// A kernel that was launched: the clusters that are still to begin, the blocks to end, and whether
// the kernel ahead of it has ended, for which threads of early blocks wait.
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
  dim3 blocks, threads, cluster;  // cluster: in blocks, of which each dimension has whole ones
  size_t shared_bytes = 0;
  bool overlap = false;          // it may begin before the kernel ahead of it has ended
  std::function<void()> kernel;  // of one thread
};

// Those of blocks from `begin` to `end`, steps apart.
inline std::vector<uint3> indices(uint3 begin, dim3 end, dim3 step) {
  std::vector<uint3> all;
  for (unsigned z = begin.z; z < end.z; z += step.z) {
    for (unsigned y = begin.y; y < end.y; y += step.y) {
      for (unsigned x = begin.x; x < end.x; x += step.x) all.push_back({x, y, z});
    }
  }
  return all;
}

struct Grid {
  explicit Grid(const Launch& of)
      : launch(of),
        to_come(indices({}, of.blocks, of.cluster)),
        unfinished(of.blocks.x * of.blocks.y * of.blocks.z) {}

  const Launch& launch;
  std::vector<uint3> to_come;  // clusters, by their first blocks
  uint32_t unfinished;
  bool previous_ended = false;
  std::vector<Thread*> waiting;  // for that
  uint32_t early = 0;            // clusters that may begin before
  bool lets_next = false;
};

}  // namespace m2::emulator
