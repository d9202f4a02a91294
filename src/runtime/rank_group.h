// The ranks of one model as the engine's Executor: every plan goes to every rank, results come from
// rank 0, a fault from any.
//
// Thread-safety: the engine thread only, as Executor says.
#pragma once

#include <memory>
#include <vector>

#include "engine/executor.h"
#include "runtime/rank.h"

namespace m2 {

class RankGroup final : public Executor {
 public:
  RankGroup(std::vector<RankParts> parts, const Capacity& capacity);
  // A rank that hangs is left behind, with its memory: the process is about to end.
  ~RankGroup() override;

  Capacity capacity() const override { return capacity_; }
  void forward(const StepPlan& plan) override;
  void sample(const SamplePlan& plan) override;
  Status wait(Deadline deadline, StepResult& result) override;

 private:
  Status take_all(Deadline deadline, StepResult& result);
  Status explain(Error error);

  const Capacity capacity_;
  std::vector<std::unique_ptr<Rank>> ranks_;
  StepResult other_;  // what ranks but the first say: the same
};

}  // namespace m2
