// One rank: a thread that owns a device's ops, a slice of the weights and a communicator, and runs
// the plans that it is handed, in order.
//
// Thread-safety: push, take, stop, wait_end and own_fault from the engine thread.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "engine/executor.h"
#include "model/forward.h"
#include "model/ops.h"
#include "model/weight_block.h"
#include "model/weights.h"
#include "parallel/communicator.h"
#include "runtime/ring.h"
#include "runtime/step_inputs.h"

namespace m2 {

// What a rank is made of.
struct RankParts {
  std::unique_ptr<WeightBlock> memory;  // of the weights
  Weights weights;
  std::unique_ptr<Communicator> communicator;
  std::unique_ptr<Ops> ops;
};

class Rank {
 public:
  Rank(RankParts parts, const Capacity& capacity);
  ~Rank();

  // Hands over one of a step's two halves: the plan stays valid until the step was taken.
  void push(const StepPlan& plan) { push({.forward = &plan, .sample = nullptr}); }
  void push(const SamplePlan& plan) { push({.forward = nullptr, .sample = &plan}); }
  // The oldest sampled step's result; an error at the deadline or after a fault.
  Status take(Deadline deadline, StepResult& result);

  // Frees a rank that waits for a peer; it then ends.
  void stop();
  // False when the thread has not ended by then: the rank hangs.
  bool wait_end(Deadline deadline);
  // After its end: what went wrong on this very rank, not what it heard of a peer's fault.
  std::optional<Error> own_fault();

 private:
  struct Command {
    const StepPlan* forward = nullptr;
    const SamplePlan* sample = nullptr;
  };
  void push(Command command);
  void run();
  // What the thread does next, as long as the device runs behind it.
  bool next(std::unique_lock<std::mutex>& lock, Command& command);
  void execute(const Command& command);
  void collect();
  void fault(Error error, bool own);

  RankParts parts_;
  StepInputs inputs_;
  Forward forward_;
  SampleOutput output_;
  Ring<uint64_t, 2> uncollected_;  // steps that were sampled; the thread's own
  bool ahead_ = false;             // the step after the last sampled one is queued too

  std::mutex mutex_;
  std::condition_variable changed_;
  Ring<Command, 16> commands_;   // the engine has two steps under way
  Ring<StepResult, 8> results_;  // their memory is used again
  uint64_t at_step_ = 0;         // what the thread works on or waits for
  Status status_;
  bool own_fault_ = false;
  bool stopping_ = false, ended_ = false;
  std::thread thread_;  // starts when the rest is there
};

}  // namespace m2
