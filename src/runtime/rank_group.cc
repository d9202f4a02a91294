#include "runtime/rank_group.h"

#include "base/log.h"

namespace m2 {
namespace {
// How long the end of the group waits for ranks that are in the middle of a step.
constexpr std::chrono::seconds kPatience{1};
}  // namespace

RankGroup::RankGroup(std::vector<RankParts> parts, const Capacity& capacity) : capacity_(capacity) {
  for (RankParts& part : parts) {
    ranks_.push_back(std::make_unique<Rank>(std::move(part), capacity));
  }
}

RankGroup::~RankGroup() {
  for (auto& rank : ranks_) rank->stop();
  const Deadline deadline = std::chrono::steady_clock::now() + kPatience;
  for (size_t i = 0; i < ranks_.size(); ++i) {
    if (ranks_[i]->join(deadline)) continue;
    log_error("rank {} does not end; leaving it behind", i);
    (void)ranks_[i].release();
  }
}

void RankGroup::forward(const StepPlan& plan) {
  for (auto& rank : ranks_) rank->push(plan);
}

void RankGroup::sample(const SamplePlan& plan) {
  for (auto& rank : ranks_) rank->push(plan);
}

Status RankGroup::wait(Deadline deadline, StepResult& result) {
  M2_TRY(ranks_.front()->take(deadline, result));
  for (size_t i = 1; i < ranks_.size(); ++i) M2_TRY(ranks_[i]->take(deadline, other_));
  return {};
}

}  // namespace m2
