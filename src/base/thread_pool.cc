#include "base/thread_pool.h"

#include <pthread.h>

#include <utility>

#include "base/check.h"

namespace m2 {

ThreadPool::ThreadPool(std::string name, int threads, size_t queue_capacity)
    : queue_(queue_capacity) {
  M2_CHECK(threads > 0);
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this] {
      while (auto task = queue_.pop()) (*task)();
    });
    pthread_setname_np(threads_.back().native_handle(), name.substr(0, 15).c_str());
  }
}

ThreadPool::~ThreadPool() { join(); }

void ThreadPool::join() {
  queue_.close();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

bool ThreadPool::try_post(Task task) { return queue_.try_push(std::move(task)); }

void Strand::post(Task task) {
  {
    std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    if (scheduled_) return;
    scheduled_ = true;
  }
  // A full pool queue would lose the strand's wake-up, so the caller's thread does the work then.
  if (!pool_.try_post([self = shared_from_this()] { self->run(); })) run();
}

void Strand::run() {
  for (;;) {
    std::vector<Task> batch;
    {
      std::lock_guard lock(mutex_);
      if (tasks_.empty()) {
        scheduled_ = false;
        return;
      }
      batch.swap(tasks_);
    }
    for (Task& task : batch) task();
  }
}

}  // namespace m2
