#include "engine/engine.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/divide_up.h"
#include "engine/commit.h"
#include "engine/inbox.h"
#include "engine/sampling.h"
#include "engine/scheduler.h"
#include "engine/step.h"

namespace m2 {
namespace {

// What can never run is refused here, so that the scheduler need not know of it.
Status check_fits(const Request& request, const Capacity& capacity) {
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  if (prompt == 0) return invalid("prompt", "the prompt is empty");
  if (request.stop.max_tokens < 1) {
    return invalid("max_tokens", "max_tokens must be at least 1, got {}", request.stop.max_tokens);
  }
  if (prompt >= capacity.max_model_tokens) {
    return invalid("prompt", "the prompt has {} tokens, at most {} leave room for a reply", prompt,
                   capacity.max_model_tokens - 1);
  }
  const int64_t tokens =
      std::min<int64_t>(prompt + request.stop.max_tokens, capacity.max_model_tokens);
  // The last token is never computed.
  const int64_t blocks = divide_up(tokens - 1, capacity.block_tokens);
  if (blocks > capacity.num_blocks) {
    return invalid("max_tokens",
                   "{} prompt tokens and {} for the reply need {} KV blocks of {} tokens, "
                   "the cache has {}",
                   prompt, tokens - prompt, blocks, capacity.block_tokens, capacity.num_blocks);
  }
  return {};
}

}  // namespace

class Engine::Impl {
 public:
  Impl(EngineOptions options, Executor& executor, OutputSink& sink)
      : options_(options),
        executor_(executor),
        sink_(sink),
        capacity_(executor.capacity()),
        inbox_(options.max_waiting),
        scheduler_(capacity_, options_),
        steps_{Step(capacity_), Step(capacity_)} {
    stats_.blocks_total = capacity_.num_blocks;
  }

  Status run();
  Status submit(Request request);

  Inbox& inbox() { return inbox_; }
  bool healthy() const { return healthy_; }
  const EngineStats& stats() const { return stats_; }
  const Capacity& capacity() const { return capacity_; }

 private:
  bool take_inbox();
  void accept(std::unique_ptr<Sequence> request);
  void cancel(RequestId id);
  Status finish_step(Step& step, Step& next);
  void publish();
  void end_all(FinishReason reason, const Error& error);
  void retire(Sequence& sequence);
  void bury();
  void update_stats();

  const EngineOptions options_;
  Executor& executor_;
  OutputSink& sink_;
  const Capacity capacity_;
  Inbox inbox_;
  EngineStats stats_;
  std::atomic<bool> healthy_{true};

  // All below: the engine thread's.
  Scheduler scheduler_;
  Step steps_[2];         // the one being planned and the one before it
  bool pending_ = false;  // the one before it runs on the device
  StepResult result_;
  OutputBatch outputs_;
  std::unordered_map<RequestId, std::unique_ptr<Sequence>> open_;
  std::vector<std::unique_ptr<Sequence>> retired_;  // ended, but rows of them are in flight
  std::vector<Sequence*> ended_;
  std::vector<Command> commands_;
  int64_t generated_tokens_ = 0;
  int64_t started_requests_ = 0;
};

Status Engine::Impl::submit(Request request) {
  M2_TRY(check_fits(request, capacity_));
  return inbox_.submit(std::make_unique<Sequence>(std::move(request), capacity_.max_model_tokens));
}

Status Engine::Impl::run() {
  for (int turn = 0; take_inbox(); turn ^= 1) {
    Step& next = steps_[turn];
    scheduler_.plan(next);
    if (!next.empty()) executor_.forward(next.plan);
    if (pending_) {
      if (Status status = finish_step(steps_[turn ^ 1], next); !status) {
        healthy_ = false;
        end_all(FinishReason::kError, status.error());
        return status;
      }
    }
    // Before anything is published: the device never waits for readers.
    if (!next.empty()) {
      plan_samples(capacity_, next);
      executor_.sample(next.sample);
    }
    M2_CHECK(pending_ || !next.empty() || !scheduler_.has_work(), "the scheduler is stuck");
    pending_ = !next.empty();
    publish();
    bury();
    update_stats();
    if (options_.check_invariants) scheduler_.check_invariants();
  }
  // stop() came in the middle of a step, which reads this engine's memory until its end.
  if (!pending_) return {};
  Status last = executor_.wait(std::chrono::steady_clock::now() + options_.step_deadline, result_);
  if (!last) healthy_ = false;
  return last;
}

// False when the loop is to end.
bool Engine::Impl::take_inbox() {
  const bool idle = !pending_ && !scheduler_.has_work();
  stats_.heartbeat_ns = std::chrono::steady_clock::now().time_since_epoch().count();
  const Inbox::Wish wish = inbox_.take(commands_, idle);
  if (wish == Inbox::Wish::kStop) {
    end_all(FinishReason::kAbort,
            Error{ErrorKind::kUnavailable, "the server stopped before the request ended", ""});
    return false;
  }
  for (Command& command : commands_) {
    command.submit ? accept(std::move(command.submit)) : cancel(command.cancel);
  }
  commands_.clear();
  if (wish == Inbox::Wish::kDrain && !pending_ && !scheduler_.has_work()) {
    // Nothing is open, and submits have been refused since drain(): only cancels can come.
    inbox_.close(commands_);
    return false;
  }
  return true;
}

void Engine::Impl::accept(std::unique_ptr<Sequence> request) {
  Sequence& accepted = *request;
  const bool added = open_.emplace(accepted.request.id, std::move(request)).second;
  M2_CHECK(added, "request id {} is in use", accepted.request.id);
  scheduler_.add(accepted);
}

void Engine::Impl::cancel(RequestId id) {
  const auto found = open_.find(id);
  if (found == open_.end()) return;
  scheduler_.finish(*found->second);
  retire(*found->second);
}

// Waits for the oldest step and takes it in, while `next` runs behind it.
Status Engine::Impl::finish_step(Step& step, Step& next) {
  result_.clear();
  const Deadline deadline = std::chrono::steady_clock::now() + options_.step_deadline;
  M2_TRY(executor_.wait(deadline, result_));
  CommitContext context{capacity_, scheduler_, next, outputs_, ended_, generated_tokens_};
  M2_TRY(commit_step(step, result_, context));
  for (Sequence* sequence : ended_) retire(*sequence);
  ended_.clear();
  return {};
}

void Engine::Impl::publish() {
  if (outputs_.empty()) return;
  sink_.publish(outputs_.outputs());
  outputs_.clear();
}

// Tells every request that has not ended, in the inbox too, that it has.
void Engine::Impl::end_all(FinishReason reason, const Error& error) {
  inbox_.close(commands_);
  for (Command& command : commands_) {
    command.submit ? accept(std::move(command.submit)) : cancel(command.cancel);
  }
  commands_.clear();
  for (auto& [id, sequence] : open_) {
    // One that ended in the very step that failed has its last output in the batch already.
    if (sequence->state != SequenceState::kFinished) {
      RequestOutput& output = outputs_.of(*sequence);
      output.finish = reason;
      output.error = error;
      scheduler_.finish(*sequence);
    }
    retired_.push_back(std::move(sequence));
  }
  open_.clear();
  ended_.clear();
  publish();
  update_stats();
}

// The request has said its last; its memory goes when no row refers to it any more.
void Engine::Impl::retire(Sequence& sequence) {
  if (!sequence.started) inbox_.note_no_longer_waiting(1);
  const auto found = open_.find(sequence.request.id);
  retired_.push_back(std::move(found->second));
  open_.erase(found);
}

void Engine::Impl::bury() {
  std::erase_if(retired_, [](const auto& sequence) { return sequence->rows_in_flight == 0; });
}

void Engine::Impl::update_stats() {
  const Scheduler::Counters& counters = scheduler_.counters();
  if (counters.started_requests != started_requests_) {
    inbox_.note_no_longer_waiting(counters.started_requests - started_requests_);
    started_requests_ = counters.started_requests;
  }
  const auto set = [](std::atomic<int64_t>& stat, int64_t value) {
    stat.store(value, std::memory_order_relaxed);
  };
  set(stats_.running, static_cast<int64_t>(scheduler_.running()));
  set(stats_.waiting, static_cast<int64_t>(scheduler_.waiting()));
  set(stats_.blocks_used, scheduler_.blocks_used());
  set(stats_.prompt_tokens, counters.prompt_tokens);
  set(stats_.generation_tokens, generated_tokens_);
  set(stats_.prefix_queries, counters.prefix_queries);
  set(stats_.prefix_hits, counters.prefix_hits);
  set(stats_.preemptions, counters.preemptions);
}

Engine::Engine(EngineOptions options, Executor& executor, OutputSink& sink)
    : impl_(std::make_unique<Impl>(options, executor, sink)) {}
Engine::~Engine() = default;

Status Engine::run() { return impl_->run(); }
Status Engine::submit(Request request) { return impl_->submit(std::move(request)); }
bool Engine::has_room() const { return impl_->inbox().has_room(); }
void Engine::cancel(RequestId id) { impl_->inbox().cancel(id); }
void Engine::drain() { impl_->inbox().drain(); }
void Engine::stop() { impl_->inbox().stop(); }
bool Engine::healthy() const { return impl_->healthy(); }
const EngineStats& Engine::stats() const { return impl_->stats(); }
const Capacity& Engine::capacity() const { return impl_->capacity(); }

}  // namespace m2
