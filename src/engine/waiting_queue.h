// Sequences that wait for a slot and blocks, in the order in which they are to start.
//
// A sorted array: it changes only when requests come, start, end or are preempted, never on an
// ordinary step, and an arrival under fcfs moves a few kilobytes at most.
//
// Thread-safety: one owner.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "engine/sequence.h"

namespace m2 {

class WaitingQueue {
 public:
  bool empty() const { return sequences_.empty(); }
  size_t size() const { return sequences_.size(); }
  Sequence& front() const { return *sequences_.back(); }  // the next to start
  void pop() { sequences_.pop_back(); }

  void insert(Sequence& sequence) { sequences_.insert(place(sequence), &sequence); }
  void remove(Sequence& sequence) { sequences_.erase(place(sequence)); }

  std::span<Sequence* const> sequences() const { return sequences_; }  // the next one last

 private:
  // The last to start stands first, so that the next one pops off the end.
  std::vector<Sequence*>::iterator place(const Sequence& sequence) {
    return std::ranges::lower_bound(sequences_, sequence.rank, std::greater<>(),
                                    [](const Sequence* other) { return other->rank; });
  }

  std::vector<Sequence*> sequences_;
};

}  // namespace m2
