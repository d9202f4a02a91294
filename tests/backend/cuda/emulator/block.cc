#include "tests/backend/cuda/emulator/block.h"

#include <algorithm>
#include <map>
#include <utility>

#include "tests/backend/cuda/emulator/fault.h"
#include "tests/backend/cuda/emulator/machine.h"
#include "tests/backend/cuda/emulator/memory_barrier.h"

namespace m2::emulator {
namespace {

constexpr uint32_t kZeros = 4;  // one in so many blocks finds zeros in its shared memory
constexpr std::array<uint32_t, 3> kLandings{8, 64, 0};  // a block has one of them
constexpr uint32_t kMostBits = 12;                      // of how many copies land at a time
constexpr uint32_t kSlow = 3;                           // one in so many blocks
constexpr uint32_t kSpeedChange = 4096;                 // one in so many changes of threads

}  // namespace

Block::Block(Machine& machine, Grid& of, std::shared_ptr<Cluster> cluster, uint3 at,
             std::vector<Thread*> threads)
    : grid(of),
      index(at),
      machine_(machine),
      cluster_(std::move(cluster)),
      memory_(of.launch.shared_bytes,
              machine.chance().one_in(kZeros) ? std::byte{0} : std::byte{0xff}),
      copies_(*this, static_cast<int32_t>(threads.size())),
      slow_(machine.chance().one_in(kSlow)),
      landing_(kLandings[machine.chance().below(kLandings.size())]),
      threads_(std::move(threads)),
      live_(static_cast<int32_t>(threads_.size())),
      warps_((threads_.size() + kWarpLanes - 1) / kWarpLanes) {
  const dim3& shape = grid.launch.threads;
  for (int32_t i = 0; i < live_; ++i) {
    Thread& thread = *threads_[i];
    const auto n = static_cast<unsigned>(i);
    thread.block = this;
    thread.index = {n % shape.x, n / shape.x % shape.y, n / shape.x / shape.y};
    thread.number = i;
    thread.waits_for = nullptr;
  }
  ready_ = threads_;
  change_speeds();
  cluster_->add(*this);
}

void Block::sync() {
  Thread& self = machine_.current();
  self.waits_for = "__syncthreads";
  at_sync_.push_back(&self);
  release_if_all();
  machine_.suspend();
}

int32_t Block::sync_and_count(bool x) {
  counted_ += x ? 1 : 0;
  sync();
  const int32_t count = counted_;
  sync();  // all have read it
  counted_ = 0;
  sync();  // and nobody counts anew before
  return count;
}

void Block::release_if_all() {
  if (std::ssize(at_sync_) >= live_) release(at_sync_);
}

void Block::release(std::vector<Thread*>& threads) {
  for (Thread* thread : threads) make_ready(*thread);
  threads.clear();
}

const Slot* Block::exchange(Collective kind, const Slot& own, void (*combine)(Slot*)) {
  Thread& self = machine_.current();
  Warp& warp = warps_[self.number / kWarpLanes];
  if (!warp.here.empty() && warp.kind != kind) {
    fault("lanes of a warp are at different operations of the warp");
  }
  warp.kind = kind;
  auto& slots = warp.slots[warp.round % warp.slots.size()];
  slots[self.number % kWarpLanes] = own;
  if (std::ssize(warp.here) + 1 < kWarpLanes) {
    self.waits_for = "the other lanes of its warp";
    warp.here.push_back(&self);
    machine_.suspend();
  } else {
    if (combine != nullptr) combine(slots.data());
    ++warp.round;
    release(warp.here);
  }
  return slots.data();
}

void Block::wait(uint64_t* barrier, uint32_t parity) {
  machine_.give_way();
  while (!MemoryBarrier::at(barrier).ended(parity)) {
    machine_.current().waits_for = "a barrier in shared memory";
    waiters_.push_back({&machine_.current(), barrier});
    machine_.suspend();
  }
}

void Block::arrive(uint64_t* barrier, int64_t expected_bytes) {
  if (MemoryBarrier::at(barrier).arrive(expected_bytes)) phase_ended(barrier);
}

void Block::landed(uint64_t* barrier, int64_t bytes) {
  if (MemoryBarrier::at(barrier).land(bytes)) phase_ended(barrier);
}

void Block::phase_ended(const uint64_t* barrier) {
  std::erase_if(waiters_, [&](const Waiter& waiter) {
    if (waiter.barrier != barrier) return false;
    make_ready(*waiter.thread);
    return true;
  });
}

void Block::may_land() {
  if (landing_ == 0) return;
  while (ready_.empty() && copies_.land_one(machine_.chance().bits())) {
  }
  if (!machine_.chance().one_in(landing_)) return;
  uint32_t count = 1u << machine_.chance().below(kMostBits + 1);
  while (count > 0 && copies_.land_one(machine_.chance().bits())) --count;
}

void Block::make_last(Thread& thread) {
  thread.waits_for = nullptr;
  slow_ready_.push_back(&thread);
}

// Half of the time a warp in four is slow.
void Block::change_speeds() {
  slow_warps_ =
      machine_.chance().one_in(2) ? 0 : machine_.chance().bits() & machine_.chance().bits();
  const std::vector<Thread*> others = std::exchange(slow_ready_, {});
  ready_.insert(ready_.end(), others.begin(), others.end());
  for (Thread* thread : std::exchange(ready_, {})) make_ready(*thread);
}

Thread& Block::take() {
  if (machine_.chance().one_in(kSpeedChange)) change_speeds();
  std::vector<Thread*>& from = ready_.empty() ? slow_ready_ : ready_;
  std::swap(from[machine_.chance().below(static_cast<uint32_t>(from.size()))], from.back());
  Thread& thread = *from.back();
  from.pop_back();
  return thread;
}

void Block::make_ready(Thread& thread) {
  thread.waits_for = nullptr;
  const bool slow = (slow_warps_ >> thread.number / kWarpLanes & 1u) != 0;
  (slow ? slow_ready_ : ready_).push_back(&thread);
}

// __syncthreads is of those that are left.
void Block::end(Thread& thread) {
  thread.waits_for = "nothing: it has ended";
  --live_;
  release_if_all();
  if (live_ > 0) return;
  if (copies_.has_bulk()) fault("a block ends while copies into it are under way");
  cluster_->leave(*this);
}

std::string Block::waiting() const {
  std::map<std::string, int32_t> counts;
  for (const Thread* thread : threads_) {
    if (thread->waits_for != nullptr) ++counts[thread->waits_for];
  }
  std::string text;
  for (const auto& [what, count] : counts) {
    text += fmt::format("{}{} wait for {}", text.empty() ? "" : ", ", count, what);
  }
  return text;
}

}  // namespace m2::emulator
