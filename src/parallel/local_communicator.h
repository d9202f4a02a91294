// The communicator of ranks that are threads of one process: they read each other's memory and meet
// at barriers.
//
// A rank that waits sleeps on an atomic; where every thread has a core of its own it spins for a
// moment first. A rank that never comes is a matter of the step's deadline, after which abort()
// frees the others.
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
  // Messages up to this size are copied aside first: then one meeting is enough, where others need
  // one more, after which everybody has read.
  static constexpr size_t kStagedBytes = 16384;

  LocalGroup(int32_t size, bool spin)
      : size_(size),
        spin_(spin),
        pointers_(size_t{2} * size),
        staged_(size_t{2} * size * kStagedBytes) {}

  int32_t size() const { return size_; }
  // A rank has two places in turn: a peer that still reads one has not come to the meeting about
  // the other, without which the first is not written again.
  std::byte* staging(int32_t rank, uint32_t turn) {
    return staged_.data() + (2 * rank + turn % 2) * kStagedBytes;
  }
  // Shows `pointer` to the others and waits until all have shown theirs: the result is what they
  // showed, by rank, valid until the caller's next meeting. Null after abort().
  const void* const* meet(int32_t rank, const void* pointer);
  void abort();
  bool aborted() const { return aborted_; }

 private:
  const int32_t size_;
  const bool spin_;
  // For odd and even rounds: a quick rank shows its next pointer while a slow one still reads
  // these.
  std::vector<const void*> pointers_;
  std::vector<std::byte> staged_;  // of the group: a rank that has left may still be read
  std::atomic<bool> aborted_{false};
  alignas(64) std::atomic<int32_t> arrived_{0};
  alignas(64) std::atomic<uint32_t> round_{0};
};

class LocalCommunicator final : public Communicator {
 public:
  // One for each rank, all over one group. `spin`: every thread of every rank has a core.
  static std::vector<std::unique_ptr<Communicator>> make(int32_t size, bool spin = false);

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
  static constexpr size_t kStagedBytes = LocalGroup::kStagedBytes;

  const std::byte* stage(const void* data, size_t bytes);
  void sum_staged(float* values, size_t count);
  void sum_in_place(float* values, size_t count);

  const std::shared_ptr<LocalGroup> group_;  // shared: whichever rank ends last takes it along
  const int32_t rank_;
  uint32_t stagings_ = 0;
};

}  // namespace m2
