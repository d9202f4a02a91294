#include "parallel/local_communicator.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace m2 {
namespace {

constexpr std::chrono::microseconds kSpin{20};
constexpr size_t kBlockFloats = 512;

// sums = the ranks' values at [begin, begin + count), added in rank order.
void add_up(const void* const* shown, size_t ranks, size_t begin, size_t count, float* sums) {
  std::fill_n(sums, count, 0.0f);
  for (size_t r = 0; r < ranks; ++r) {
    const float* theirs = static_cast<const float*>(shown[r]) + begin;
    for (size_t i = 0; i < count; ++i) sums[i] += theirs[i];
  }
}

}  // namespace

const void* const* LocalGroup::meet(int32_t rank, const void* pointer) {
  const uint32_t round = round_;
  const void** shown = pointers_.data() + size_t{round % 2} * size_;
  shown[rank] = pointer;
  if (++arrived_ == size_) {
    arrived_ = 0;
    ++round_;
    round_.notify_all();
  } else {
    if (spin_) {
      const auto end = std::chrono::steady_clock::now() + kSpin;
      while (round_ == round && std::chrono::steady_clock::now() < end) {
      }
    }
    while (round_ == round && !aborted_) round_.wait(round);
  }
  return aborted_ ? nullptr : shown;
}

void LocalGroup::abort() {
  aborted_ = true;
  // A change of the round wakes whoever sleeps on it; rounds no longer matter.
  ++round_;
  round_.notify_all();
}

LocalCommunicator::LocalCommunicator(std::shared_ptr<LocalGroup> group, int32_t rank)
    : group_(std::move(group)), rank_(rank) {}

std::vector<std::unique_ptr<Communicator>> LocalCommunicator::make(int32_t size, bool spin) {
  auto group = std::make_shared<LocalGroup>(size, spin);
  std::vector<std::unique_ptr<Communicator>> ranks;
  for (int32_t i = 0; i < size; ++i) {
    ranks.push_back(std::make_unique<LocalCommunicator>(group, i));
  }
  return ranks;
}

const std::byte* LocalCommunicator::stage(const void* data, size_t bytes) {
  std::byte* buffer = group_->staging(rank_, stagings_++);
  std::memcpy(buffer, data, bytes);
  return buffer;
}

void LocalCommunicator::all_reduce_sum(float* values, size_t count) {
  count * sizeof(float) <= kStagedBytes ? sum_staged(values, count) : sum_in_place(values, count);
}

// Everybody adds up everything.
void LocalCommunicator::sum_staged(float* values, size_t count) {
  const void* const* shown = group_->meet(rank_, stage(values, count * sizeof(float)));
  if (shown == nullptr) return;
  add_up(shown, group_->size(), 0, count, values);
}

// Each rank adds up its share, which no other rank reads meanwhile; then all take the shares of
// all.
void LocalCommunicator::sum_in_place(float* values, size_t count) {
  const size_t ranks = group_->size();
  const size_t share = (count + ranks - 1) / ranks;
  const auto first = [&](size_t rank) { return std::min(count, rank * share); };
  const void* const* shown = group_->meet(rank_, values);
  if (shown == nullptr) return;
  float sums[kBlockFloats];
  for (size_t begin = first(rank_); begin < first(rank_ + 1); begin += kBlockFloats) {
    const size_t size = std::min(kBlockFloats, first(rank_ + 1) - begin);
    add_up(shown, ranks, begin, size, sums);
    std::copy_n(sums, size, values + begin);
  }
  shown = group_->meet(rank_, values);  // now all shares are sums
  if (shown == nullptr) return;
  for (size_t r = 0; r < ranks; ++r) {
    if (r == static_cast<size_t>(rank_)) continue;
    const float* theirs = static_cast<const float*>(shown[r]);
    std::copy(theirs + first(r), theirs + first(r + 1), values + first(r));
  }
  group_->meet(rank_, nullptr);  // now all have read the sums
}

void LocalCommunicator::broadcast(void* data, size_t bytes, int32_t root) {
  const bool staged = bytes <= kStagedBytes;
  const void* const* shown =
      group_->meet(rank_, staged && rank_ == root ? stage(data, bytes) : data);
  if (shown == nullptr) return;
  if (rank_ != root) std::memcpy(data, shown[root], bytes);
  if (!staged) group_->meet(rank_, nullptr);
}

void LocalCommunicator::all_gather(const void* mine, size_t bytes, void* all) {
  const bool staged = bytes <= kStagedBytes;
  const void* const* shown = group_->meet(rank_, staged ? stage(mine, bytes) : mine);
  if (shown == nullptr) return;
  auto* out = static_cast<std::byte*>(all);
  for (int32_t r = 0; r < group_->size(); ++r, out += bytes) std::memmove(out, shown[r], bytes);
  if (!staged) group_->meet(rank_, nullptr);
}

void LocalCommunicator::barrier() { group_->meet(rank_, nullptr); }

Status LocalCommunicator::status() const {
  if (group_->aborted()) return fail(ErrorKind::kInternal, "", "a rank was stopped or failed");
  return {};
}

}  // namespace m2
