#include "backend/cpu/worker_pool.h"

#include <chrono>

#include "backend/cpu/host.h"

namespace m2 {
namespace {

constexpr std::chrono::microseconds kSpin{20};
constexpr int kPausesBetweenLooks = 16;  // at the clock, which is dearer than the atomic

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// True once `done()` holds; false after kSpin.
template <typename Done>
bool spin_until(const Done& done) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < kPausesBetweenLooks; ++i) {
      if (done()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace

WorkerPool::WorkerPool(int32_t threads) : spin_(threads <= usable_cores()) {
  for (int32_t i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

WorkerPool::~WorkerPool() {
  stopping_ = true;
  epoch_ += 2;  // a change that opens no loop
  epoch_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void WorkerPool::run(int64_t items, const void* context, Call call) {
  if (workers_.empty() || items <= 1) {
    for (int64_t i = 0; i < items; ++i) call(context, i, 0);
    return;
  }
  context_ = context;
  call_ = call;
  items_ = items;
  next_ = 0;
  ++epoch_;
  if (sleepers_ > 0) epoch_.notify_all();
  take_items(0);
  ++epoch_;
  while (active_ > 0) {
    if (!spin_until([this] { return active_ == 0; })) std::this_thread::yield();
  }
}

void WorkerPool::take_items(int32_t thread) {
  for (;;) {
    const int64_t item = next_.fetch_add(1, std::memory_order_relaxed);
    if (item >= items_) return;
    call_(context_, item, thread);
  }
}

void WorkerPool::work(int32_t thread) {
  while (!stopping_) {
    const uint32_t seen = epoch_;
    if (seen % 2 == 1) {
      ++active_;
      if (epoch_ % 2 == 1) take_items(thread);
      --active_;
    }
    wait_for_change(seen);
  }
}

void WorkerPool::wait_for_change(uint32_t seen) {
  if (spin_ && spin_until([&] { return epoch_ != seen; })) return;
  ++sleepers_;
  epoch_.wait(seen);
  --sleepers_;
}

}  // namespace m2
