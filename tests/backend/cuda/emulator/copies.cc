#include "tests/backend/cuda/emulator/copies.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "tests/backend/cuda/emulator/block.h"
#include "tests/backend/cuda/emulator/fault.h"

namespace m2::emulator {
namespace {

constexpr uint32_t kSmallBytes = 16;
constexpr int kNothing = 0xff;  // all bytes: NaN in every format

void expect_aligned(const void* to, const void* from, uint32_t bytes) {
  const auto bits = reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from) | bytes;
  if (bits % kSmallBytes != 0) fault("a copy into shared memory is not of whole 16 bytes");
}

}  // namespace

void Copies::begin(int32_t thread, void* to, const void* from) {
  expect_aligned(to, from, kSmallBytes);
  std::memset(to, kNothing, kSmallBytes);
  begin_small(thread, {from == nullptr ? Kind::kZero : Kind::kCopy, to, from});
}

void Copies::commit(int32_t thread) { begin_small(thread, {Kind::kGroupEnd, nullptr, nullptr}); }

void Copies::wait(int32_t thread, int32_t left) {
  auto& queue = by_thread_[thread];
  auto groups = std::count_if(queue.begin(), queue.end(),
                              [](const Small& s) { return s.kind == Kind::kGroupEnd; });
  while (groups > left) {
    groups -= queue.front().kind == Kind::kGroupEnd ? 1 : 0;
    land_first(thread);
  }
}

void Copies::arrive_after(int32_t thread, uint64_t* barrier) {
  begin_small(thread, {Kind::kArrival, barrier, nullptr});
}

void Copies::begin_bulk(void* to, const void* from, uint32_t bytes, uint64_t* barrier) {
  expect_aligned(to, from, bytes);
  std::memset(to, kNothing, bytes);
  bulk_.push_back({to, from, bytes, barrier, {}});
}

void Copies::begin_sent(void* to, std::span<const std::byte> bytes, uint64_t* barrier) {
  bulk_.push_back(
      {to, nullptr, static_cast<uint32_t>(bytes.size()), barrier, {bytes.begin(), bytes.end()}});
}

void Copies::begin_small(int32_t thread, const Small& small) {
  if (!listed_[thread]) threads_.push_back(thread);
  listed_[thread] = true;
  by_thread_[thread].push_back(small);
  ++num_small_;
}

bool Copies::land_one(uint32_t pick) {
  if (!any()) return false;
  if (has_bulk() && (num_small_ == 0 || pick % 2 == 0)) {
    std::swap(bulk_[pick / 2 % bulk_.size()], bulk_.back());
    const Bulk copy = std::move(bulk_.back());
    bulk_.pop_back();
    std::memcpy(copy.to, copy.sent.empty() ? copy.from : copy.sent.data(), copy.bytes);
    block_.landed(copy.barrier, copy.bytes);
    return true;
  }
  for (;;) {
    int32_t& thread = threads_[pick / 2 % threads_.size()];
    if (!by_thread_[thread].empty()) {
      land_first(thread);
      return true;
    }
    listed_[thread] = false;
    thread = threads_.back();
    threads_.pop_back();
  }
}

void Copies::land_first(int32_t thread) {
  auto& queue = by_thread_[thread];
  const Small first = queue.front();
  queue.pop_front();
  --num_small_;
  switch (first.kind) {
    case Kind::kCopy:
      std::memcpy(first.to, first.from, kSmallBytes);
      break;
    case Kind::kZero:
      std::memset(first.to, 0, kSmallBytes);
      break;
    case Kind::kArrival:
      block_.arrive(static_cast<uint64_t*>(first.to), 0);
      break;
    case Kind::kGroupEnd:
      break;
  }
}

}  // namespace m2::emulator
