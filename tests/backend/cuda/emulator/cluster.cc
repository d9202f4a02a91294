#include "tests/backend/cuda/emulator/cluster.h"

#include <algorithm>

#include "tests/backend/cuda/emulator/fault.h"
#include "tests/backend/cuda/emulator/machine.h"

namespace m2::emulator {

void Cluster::add(Block& block) {
  blocks_.push_back(&block);
  threads_ += std::ssize(block.threads());
  missing_ = threads_;
}

void Cluster::leave(Block& block) { *std::find(blocks_.begin(), blocks_.end(), &block) = nullptr; }

void Cluster::arrive() {
  machine_.current().cluster_phase = phase_;
  if (--missing_ > 0) return;
  ++phase_;
  missing_ = threads_;
  for (Thread* thread : waiting_) thread->block->make_ready(*thread);
  waiting_.clear();
}

void Cluster::wait() {
  Thread& self = machine_.current();
  if (self.cluster_phase != phase_) return machine_.give_way();
  self.waits_for = "the other blocks of its cluster";
  waiting_.push_back(&self);
  machine_.suspend();
}

void Cluster::send(int32_t rank, void* place, std::span<const std::byte> bytes, uint64_t* barrier) {
  if (rank < 0 || rank >= std::ssize(blocks_)) fault("a cluster has no block {}", rank);
  Block* to = blocks_[rank];
  if (to == nullptr) fault("a block sends to one of its cluster that has ended");
  const SharedMemory& own = machine_.current().block->memory();
  auto* counts = static_cast<uint64_t*>(own.place_in(to->memory(), barrier));
  to->copies().begin_sent(own.place_in(to->memory(), place), bytes, counts);
  machine_.may_give_way();
}

}  // namespace m2::emulator
