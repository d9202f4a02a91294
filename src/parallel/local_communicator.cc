#include "parallel/local_communicator.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

namespace m2 {
namespace {
constexpr std::chrono::microseconds kSpin{20};
}  // namespace

const void* const* LocalGroup::meet(int32_t rank, const void* pointer) {
  const uint32_t round = round_;
  const void** shown = pointers_.data() + round % 2 * size_;
  shown[rank] = pointer;
  if (++arrived_ == size_) {
    arrived_ = 0;
    ++round_;
    round_.notify_all();
  } else {
    const auto end = std::chrono::steady_clock::now() + kSpin;
    while (round_ == round && std::chrono::steady_clock::now() < end) {
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
    : group_(std::move(group)), rank_(rank), sums_(kPieceFloats / group_->size() + 1) {}

std::vector<std::unique_ptr<Communicator>> LocalCommunicator::make(int32_t size) {
  auto group = std::make_shared<LocalGroup>(size);
  std::vector<std::unique_ptr<Communicator>> ranks;
  for (int32_t i = 0; i < size; ++i) {
    ranks.push_back(std::make_unique<LocalCommunicator>(group, i));
  }
  return ranks;
}

// Each rank adds up its share of every piece, in rank order; then all take the shares of all.
void LocalCommunicator::all_reduce_sum(float* values, size_t count) {
  const size_t ranks = group_->size();
  for (size_t begin = 0; begin < count; begin += kPieceFloats) {
    const size_t piece = std::min(kPieceFloats, count - begin);
    const size_t share = (piece + ranks - 1) / ranks;
    const auto first = [&](size_t rank) { return std::min(piece, rank * share); };
    const void* const* shown = group_->meet(rank_, values);
    if (shown == nullptr) return;
    const size_t mine = first(rank_), size = first(rank_ + 1) - mine;
    std::fill_n(sums_.begin(), size, 0.0f);
    for (size_t r = 0; r < ranks; ++r) {
      const float* theirs = static_cast<const float*>(shown[r]) + begin + mine;
      for (size_t i = 0; i < size; ++i) sums_[i] += theirs[i];
    }
    shown = group_->meet(rank_, sums_.data());  // now all have read the values
    if (shown == nullptr) return;
    for (size_t r = 0; r < ranks; ++r) {
      const float* sums = static_cast<const float*>(shown[r]);
      std::copy_n(sums, first(r + 1) - first(r), values + begin + first(r));
    }
    if (group_->meet(rank_, nullptr) == nullptr) return;  // now all have read the sums
  }
}

void LocalCommunicator::broadcast(void* data, size_t bytes, int32_t root) {
  const void* const* shown = group_->meet(rank_, data);
  if (shown == nullptr) return;
  if (rank_ != root) std::memcpy(data, shown[root], bytes);
  group_->meet(rank_, nullptr);
}

void LocalCommunicator::all_gather(const void* mine, size_t bytes, void* all) {
  const void* const* shown = group_->meet(rank_, mine);
  if (shown == nullptr) return;
  auto* out = static_cast<std::byte*>(all);
  for (int32_t r = 0; r < group_->size(); ++r, out += bytes) std::memmove(out, shown[r], bytes);
  group_->meet(rank_, nullptr);
}

void LocalCommunicator::barrier() { group_->meet(rank_, nullptr); }

Status LocalCommunicator::status() const {
  if (group_->aborted()) return fail(ErrorKind::kInternal, "", "a rank was stopped or failed");
  return {};
}

}  // namespace m2
