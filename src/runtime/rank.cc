#include "runtime/rank.h"

#include <utility>

namespace m2 {

Rank::Rank(RankParts parts, const Capacity& capacity)
    : parts_(std::move(parts)),
      inputs_(capacity),
      forward_(parts_.weights, *parts_.ops, *parts_.communicator),
      thread_([this] { run(); }) {}

Rank::~Rank() {
  stop();
  if (thread_.joinable()) thread_.join();
}

void Rank::push(Command command) {
  {
    std::lock_guard lock(mutex_);
    commands_.push() = command;
  }
  changed_.notify_all();
}

void Rank::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || !commands_.empty(); });
    if (stopping_) break;
    const Command command = commands_.front();
    commands_.pop();
    lock.unlock();
    execute(command);
    lock.lock();
  }
  ended_ = true;
  changed_.notify_all();
}

void Rank::execute(const Command& command) {
  if (command.forward != nullptr) {
    forward_.run(inputs_.batch(*command.forward));
    return;
  }
  forward_.sample(inputs_.requests(*command.sample));
  Status status = parts_.ops->collect(output_);
  if (status) status = parts_.communicator->status();
  // Peers that wait for this rank would wait for ever.
  if (!status) parts_.communicator->abort();
  publish(command.sample->step, status, output_);
}

void Rank::publish(uint64_t step, const Status& status, SampleOutput& output) {
  {
    std::lock_guard lock(mutex_);
    if (!status && status_) status_ = status;
    if (status) take_output(step, output, results_.push());
  }
  changed_.notify_all();
}

Status Rank::take(Deadline deadline, StepResult& result) {
  std::unique_lock lock(mutex_);
  const bool there =
      changed_.wait_until(lock, deadline, [&] { return !results_.empty() || !status_ || ended_; });
  if (!status_) return status_;
  if (!there) return fail(ErrorKind::kInternal, "", "a step missed its deadline: the device hangs");
  if (results_.empty()) return fail(ErrorKind::kInternal, "", "the rank has stopped");
  std::swap(result, results_.front());
  results_.pop();
  return {};
}

void Rank::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  parts_.communicator->abort();
  changed_.notify_all();
}

bool Rank::join(Deadline deadline) {
  {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_until(lock, deadline, [&] { return ended_; })) return false;
  }
  thread_.join();
  return true;
}

}  // namespace m2
