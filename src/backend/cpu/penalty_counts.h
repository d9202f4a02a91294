// What each slot's sequence has said so far, for the repetition, presence and frequency penalties:
// one 16-bit count a token of the vocabulary, with a bit for "in the prompt". A rank counts the
// tokens of its slice of the vocabulary. Pages of slots whose requests never asked for a penalty
// are never touched.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "model/batch.h"
#include "model/weights.h"

namespace m2 {

inline bool wants_counts(const SampleRequest& request) {
  return request.repetition_penalty != 1 || request.presence_penalty != 0 ||
         request.frequency_penalty != 0;
}

class PenaltyCounts {
 public:
  static constexpr uint16_t kInPrompt = 0x8000;
  static constexpr uint16_t kMaxCount = 0x7fff;

  static size_t bytes(int32_t slots, int64_t vocab) { return size_t(slots) * vocab * 2; }
  // Of `vocab` ids from `first` on.
  PenaltyCounts(int64_t vocab, HostMemory memory, int64_t first = 0)
      : vocab_(vocab), first_(first), memory_(std::move(memory)) {}

  // Takes in what the request says of its slot's history.
  void update(const SampleRequest& request) {
    std::span<uint16_t> counts = mutable_of(request.slot);
    if (request.history_reset) std::fill(counts.begin(), counts.end(), 0);
    for (size_t i = 0; i < request.history.size(); ++i) {
      const int64_t id = request.history[i] - first_;
      if (id >= 0 && id < vocab_) add(counts[id], i < size_t(request.history_prompt));
    }
  }

  std::span<const uint16_t> of(int32_t slot) { return mutable_of(slot); }

 private:
  static void add(uint16_t& entry, bool prompt) {
    if (prompt) {
      entry |= kInPrompt;
    } else if ((entry & kMaxCount) < kMaxCount) {
      ++entry;
    }
  }
  std::span<uint16_t> mutable_of(int32_t slot) {
    return {reinterpret_cast<uint16_t*>(memory_.data()) + slot * vocab_, size_t(vocab_)};
  }

  const int64_t vocab_, first_;
  HostMemory memory_;
};

}  // namespace m2
