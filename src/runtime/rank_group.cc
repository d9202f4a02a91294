#include "runtime/rank_group.h"

#include "base/log.h"

namespace m2 {
namespace {
// How long the group waits for ranks that are in the middle of a step, once to find out which one
// hangs and once at its end. The process has two seconds from the fault to its exit.
constexpr std::chrono::milliseconds kPatience{300};

Deadline patience() { return std::chrono::steady_clock::now() + kPatience; }
}  // namespace

RankGroup::RankGroup(std::vector<RankParts> parts, const Capacity& capacity) : capacity_(capacity) {
  for (RankParts& part : parts) {
    ranks_.push_back(std::make_unique<Rank>(std::move(part), capacity));
  }
}

RankGroup::~RankGroup() {
  for (auto& rank : ranks_) rank->stop();
  const Deadline deadline = patience();
  for (size_t i = 0; i < ranks_.size(); ++i) {
    if (ranks_[i]->wait_end(deadline)) continue;
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
  Status status = take_all(deadline, result);
  return status ? status : explain(std::move(status.error()));
}

Status RankGroup::take_all(Deadline deadline, StepResult& result) {
  M2_TRY(ranks_.front()->take(deadline, result));
  for (size_t i = 1; i < ranks_.size(); ++i) M2_TRY(ranks_[i]->take(deadline, other_));
  return {};
}

// The first rank that does not answer may only be waiting for the one that is at fault. Ends all of
// them: the one with an error of its own is the cause, or else those that do not end.
Status RankGroup::explain(Error error) {
  if (ranks_.size() == 1) return tl::unexpected(std::move(error));
  for (auto& rank : ranks_) rank->stop();
  const Deadline deadline = patience();
  std::string hanging;
  for (size_t i = 0; i < ranks_.size(); ++i) {
    if (!ranks_[i]->wait_end(deadline))
      hanging += fmt::format("{} {}", hanging.empty() ? "" : ",", i);
    if (const auto cause = ranks_[i]->own_fault()) {
      return fail(cause->kind, cause->field, "rank {}: {}", i, cause->message);
    }
  }
  if (!hanging.empty()) error.message += fmt::format(" (rank{} of {})", hanging, ranks_.size());
  return tl::unexpected(std::move(error));
}

}  // namespace m2
