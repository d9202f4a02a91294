// Threads for loops of microseconds inside an op. The caller works too, so a pool of one has no
// threads. Items are handed out one by one: a thread that the system takes away for a moment costs
// little, and results must not depend on who computes what.
//
// Thread-safety: one caller at a time. A waiting worker spins for at most 20 us (only where there
// is a core for every thread), then sleeps on an atomic until the next loop.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace m2 {

class WorkerPool {
 public:
  explicit WorkerPool(int32_t threads);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int32_t threads() const { return static_cast<int32_t>(workers_.size()) + 1; }

  // body(item, thread) for every item in [0, items), thread in [0, threads()). Returns when all are
  // done. A single item runs on the caller alone.
  template <typename Body>
  void for_each(int64_t items, const Body& body) {
    run(items, &body, [](const void* context, int64_t item, int32_t thread) {
      (*static_cast<const Body*>(context))(item, thread);
    });
  }

 private:
  using Call = void (*)(const void* context, int64_t item, int32_t thread);
  void run(int64_t items, const void* context, Call call);
  void work(int32_t thread);
  void take_items(int32_t thread);
  void wait_for_change(uint32_t seen);

  // The loop under way. Written while closed, read only by a worker that entered while open.
  const void* context_ = nullptr;
  Call call_ = nullptr;
  int64_t items_ = 0;
  std::atomic<int64_t> next_{0};

  // A loop is open while epoch_ is odd. A worker enters by raising active_ and then looking at
  // epoch_; the caller closes by raising epoch_ and then waiting for active_ to fall to 0: one of
  // the two sees the other, so no worker is in a loop that the caller has left, and a worker that
  // was asleep is not waited for.
  alignas(64) std::atomic<uint32_t> epoch_{0};
  alignas(64) std::atomic<int32_t> active_{0};
  std::atomic<int32_t> sleepers_{0};
  std::atomic<bool> stopping_{false};
  const bool spin_;
  std::vector<std::thread> workers_;
};

}  // namespace m2
