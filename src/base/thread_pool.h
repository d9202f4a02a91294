// A fixed pool of threads over a bounded queue, and strands on it. Used for text work; the CPU
// backend has its own worker pool, whose tasks are microseconds long.
//
// Thread-safety: post() from any thread. A task that throws ends the process: tasks return errors.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/queue.h"

namespace m2 {

using Task = std::function<void()>;

class ThreadPool {
 public:
  // `name` shows in debuggers (at most 15 characters).
  ThreadPool(std::string name, int threads, size_t queue_capacity);
  ~ThreadPool();  // join()

  // Runs what is queued and ends the threads; nothing is taken afterwards. Of one thread, once or
  // more often.
  void join();

  // False when the queue is full or the pool is closing.
  bool try_post(Task task);

  size_t queued() const { return queue_.size(); }

 private:
  Queue<Task> queue_;
  std::vector<std::thread> threads_;
};

// Runs its tasks one after another, in order, on whichever pool thread is free: one strand a
// request keeps a reply's text in order without a lock around the work. The queue is bounded by
// whoever posts (one batch a step). Created through make_shared: a running task keeps it alive.
class Strand : public std::enable_shared_from_this<Strand> {
 public:
  explicit Strand(ThreadPool& pool) : pool_(pool) {}
  void post(Task task);

 private:
  void run();

  ThreadPool& pool_;
  std::mutex mutex_;
  std::vector<Task> tasks_;
  bool scheduled_ = false;
};

}  // namespace m2
