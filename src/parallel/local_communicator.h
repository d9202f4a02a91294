// The communicator of ranks that are threads of one process: they read each other's memory and meet
// at barriers.
//
// A rank that waits spins for a moment and then sleeps; a rank that never comes is a matter of the
// step's deadline, after which abort() frees the others.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "parallel/communicator.h"

namespace m2 {

// What the ranks of one group share.
class LocalGroup {
 public:
  explicit LocalGroup(int32_t size) : size_(size), pointers_(2 * size) {}

  int32_t size() const { return size_; }
  // Shows `pointer` to the others and waits until all have shown theirs: the result is what they
  // showed, by rank, valid until the caller's next meeting. Null after abort().
  const void* const* meet(int32_t rank, const void* pointer);
  void abort();
  bool aborted() const { return aborted_; }

 private:
  const int32_t size_;
  // For odd and even rounds: a quick rank shows its next pointer while a slow one still reads
  // these.
  std::vector<const void*> pointers_;
  std::atomic<bool> aborted_{false};
  alignas(64) std::atomic<int32_t> arrived_{0};
  alignas(64) std::atomic<uint32_t> round_{0};
};

class LocalCommunicator final : public Communicator {
 public:
  // One for each rank, all over one group.
  static std::vector<std::unique_ptr<Communicator>> make(int32_t size);

  LocalCommunicator(std::shared_ptr<LocalGroup> group, int32_t rank);

  int32_t rank() const override { return rank_; }
  int32_t size() const override { return group_->size(); }
  void all_reduce_sum(float* values, size_t count) override;
  void broadcast(void* data, size_t bytes, int32_t root) override;
  void all_gather(const void* mine, size_t bytes, void* all) override;
  void barrier() override;
  void abort() override { group_->abort(); }
  Status status() const override;

 private:
  // Sums are made in pieces of this many floats, so that no buffer grows with the message.
  static constexpr size_t kPieceFloats = 16384;

  const std::shared_ptr<LocalGroup> group_;  // shared: whichever rank ends last takes it along
  const int32_t rank_;
  std::vector<float> sums_;  // this rank's share of a piece
};

}  // namespace m2
