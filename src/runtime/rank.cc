#include "runtime/rank.h"

#include <exception>
#include <utility>

namespace m2 {
namespace {
// How often a thread with nothing to queue looks whether the device has finished.
constexpr std::chrono::microseconds kLook{20};
}  // namespace

Rank::Rank(RankParts parts, const Capacity& capacity)
    : parts_(std::move(parts)),
      inputs_(capacity),
      forward_(parts_.weights, *parts_.ops, *parts_.communicator) {
  for (StepResult& result : results_.places()) {
    result.rows.reserve(capacity.max_sample_rows);
    result.tokens.reserve(capacity.max_sample_rows);
  }
  thread_ = std::thread([this] { run(); });
}

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

// While the device works on step k the thread looks for step k + 1, and queues it before it waits
// for the tokens of k: so the device goes from one to the other without a pause. The engine asks
// for the sampling of k + 1 only after it has got those tokens (engine/executor.h), so a thread
// that is ahead misses nothing when it waits.
bool Rank::next(std::unique_lock<std::mutex>& lock, Command& command) {
  while (!stopping_) {
    const bool waits = !uncollected_.empty();
    const bool more = !commands_.empty();
    const bool collects = ahead_ || (more && commands_.front().sample != nullptr);
    if (waits && (collects || parts_.ops->ready())) {
      at_step_ = uncollected_.front();
      return true;
    }
    if (more) {
      command = commands_.front();
      commands_.pop();
      at_step_ = command.forward != nullptr ? command.forward->step() : command.sample->step;
      return true;
    }
    if (waits) {
      changed_.wait_for(lock, kLook);
    } else {
      changed_.wait(lock);
    }
  }
  return false;
}

void Rank::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    Command command;
    if (!next(lock, command)) break;
    lock.unlock();
    try {
      execute(command);
    } catch (const std::exception& error) {  // a library's: the rank dies, the process must hear it
      fault({ErrorKind::kInternal, fmt::format("died: {}", error.what()), ""}, true);
    }
    lock.lock();
    if (!status_) break;
  }
  ended_ = true;
  changed_.notify_all();
}

void Rank::execute(const Command& command) {
  if (command.forward != nullptr) {
    forward_.run(inputs_.batch(*command.forward));
    ahead_ = !uncollected_.empty();
  } else if (command.sample != nullptr) {
    forward_.sample(inputs_.requests(*command.sample));
    uncollected_.push() = command.sample->step;
    ahead_ = false;
  } else {
    collect();
  }
}

void Rank::collect() {
  const uint64_t step = uncollected_.front();
  uncollected_.pop();
  ahead_ = false;
  if (Status status = parts_.ops->collect(output_); !status) {
    status.error().message = fmt::format("step {}: {}", step, status.error().message);
    return fault(std::move(status.error()), true);
  }
  if (Status status = parts_.communicator->status(); !status) {
    return fault(std::move(status.error()), false);
  }
  {
    std::lock_guard lock(mutex_);
    take_output(step, output_, results_.push());
  }
  changed_.notify_all();
}

void Rank::fault(Error error, bool own) {
  {
    std::lock_guard lock(mutex_);
    status_ = tl::unexpected(std::move(error));
    own_fault_ = own;
  }
  // Peers that wait for this rank would wait for ever. Only now: what they then find is not the
  // cause, and whoever hears of it from them looks here.
  parts_.communicator->abort();
  changed_.notify_all();
}

Status Rank::take(Deadline deadline, StepResult& result) {
  std::unique_lock lock(mutex_);
  const bool there =
      changed_.wait_until(lock, deadline, [&] { return !results_.empty() || !status_ || ended_; });
  if (!status_) return status_;
  if (!there) {
    const std::string last = parts_.ops->last_begun();
    return fail(ErrorKind::kInternal, "", "step {} missed its deadline: the device hangs{}{}",
                at_step_, last.empty() ? "" : "; the kernel begun last: ", last);
  }
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

bool Rank::wait_end(Deadline deadline) {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline, [&] { return ended_; });
}

std::optional<Error> Rank::own_fault() {
  std::lock_guard lock(mutex_);
  if (status_ || !own_fault_) return std::nullopt;
  return status_.error();
}

}  // namespace m2
