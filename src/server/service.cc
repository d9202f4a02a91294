#include "server/service.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace m2 {
namespace {

// Strands never refuse: a full queue makes the engine's thread do the work. So it is never full,
// with a task a strand.
constexpr size_t kTextOutQueue = 1u << 20;

constexpr const char* kShuttingDown = "the server is shutting down";

}  // namespace

Service::Service(const ServerOptions& options, const ServerModel& model, ServerMetrics& metrics)
    : options_(options),
      metrics_(metrics),
      prompts_(options, model),
      text_out_("m2-text-out", options.text_out_threads, kTextOutQueue),
      text_in_("m2-text-in", options.text_in_threads,
               static_cast<size_t>(options.max_text_in_queue)) {}

Service::~Service() { stop(); }

void Service::serve(std::vector<Engine*> engines) {
  M2_CHECK(!engines.empty() && !serving_);
  engines_ = std::move(engines);
  replicas_ = std::make_unique<Replicas>(static_cast<int32_t>(engines_.size()));
  const Capacity& capacity = engines_[0]->capacity();
  const int64_t cache = int64_t{capacity.num_blocks} * capacity.block_tokens;
  prompts_.set_context(static_cast<int32_t>(std::min<int64_t>(capacity.max_model_tokens, cache)));
  vocab_size_ = capacity.vocab_size;
  metrics_.set_engines({engines_.begin(), engines_.end()});
  serving_ = true;  // releases all of the above to other threads
}

Status Service::ready() const {
  if (draining_) return fail(ErrorKind::kUnavailable, "", "{}", kShuttingDown);
  return working();
}

Status Service::working() const {
  const auto unavailable = [](const char* why) {
    return fail(ErrorKind::kUnavailable, "", "{}", why);
  };
  if (stopped_) return unavailable(kShuttingDown);
  if (!serving_) return unavailable("the model is loading");
  for (const Engine* engine : engines_) {
    if (!engine->healthy()) return unavailable("the engine has failed");
    if (options_.stall_timeout.count() == 0 || engine->stats().running == 0) continue;
    const auto turn = std::chrono::steady_clock::time_point(
        std::chrono::nanoseconds(engine->stats().heartbeat_ns));
    if (std::chrono::steady_clock::now() - turn > options_.stall_timeout) {
      return unavailable("the engine makes no progress");
    }
  }
  return {};
}

Status Service::post(Task task) {
  if (text_in_.try_post(std::move(task))) return {};
  return fail(ErrorKind::kUnavailable, "",
              "the queue is full: {} requests wait to be tokenised, which is the most that may",
              options_.max_text_in_queue);
}

// One a choice. A prompt's choices stay together, so that they share it in one cache; the prompts
// of a request may part.
std::vector<Replicas::Seat> Service::take_seats(const SessionPlan& plan) {
  const auto full = [this](int32_t replica) { return !engines_[replica]->has_room(); };
  std::vector<Replicas::Seat> seats;
  for (size_t i = 0; i < plan.prompts.size(); ++i) {
    const Replicas::Seat first =
        replicas_->take(plan.prompts[i], plan.options.cache_salt, plan.max_tokens[i], full);
    seats.push_back(first);
    for (int32_t k = 1; k < plan.options.n; ++k) {
      seats.push_back(replicas_->join(first, plan.max_tokens[i]));
    }
  }
  return seats;
}

void Service::run(SessionPlan plan, const std::shared_ptr<HttpExchange>& exchange) {
  const std::vector<Replicas::Seat> seats = take_seats(plan);
  for (const Replicas::Seat& seat : seats) plan.engines.push_back(seat.replica);
  metrics_.request_started(plan.engines[0], plan.options.n,
                           *std::max_element(plan.max_tokens.begin(), plan.max_tokens.end()));
  const auto choices = plan.prompts.size() * static_cast<size_t>(plan.options.n);
  const RequestId first = next_id_.fetch_add(choices);
  // The same requests in the same order then draw the same, from one start to another.
  if (options_.seed && !plan.options.seed) plan.options.seed = *options_.seed + first;
  const auto session =
      std::make_shared<Session>(std::move(plan), first, *this, metrics_, text_out_);
  // A weak reference: the session owns the exchange through its writer.
  exchange->on_gone([weak = std::weak_ptr<Session>(session)] {
    if (const auto open = weak.lock()) open->post_abandon();
  });
  submit(session, seats);
}

void Service::submit(const std::shared_ptr<Session>& session,
                     const std::vector<Replicas::Seat>& seats) {
  const RequestId first = session->first();
  {
    std::lock_guard lock(mutex_);
    for (int32_t i = 0; i < session->choices(); ++i) {
      entries_.emplace(first + static_cast<RequestId>(i), Entry{session, seats[i], i});
    }
  }
  Status status = working();
  for (int32_t i = 0; i < session->choices() && status; ++i) {
    status = engines_[seats[i].replica]->submit(session->make_request(i));
  }
  if (!status) session->post_failure(std::move(status.error()));
  // The client may have gone, or stop() come, before the last choice was handed over.
  if (session->ended()) {
    for (int32_t i = 0; i < session->choices(); ++i) {
      engines_[seats[i].replica]->cancel(first + static_cast<RequestId>(i));
    }
    forget(first, session->choices());
  }
}

void Service::publish(std::span<RequestOutput> batch) {
  std::vector<std::pair<std::shared_ptr<Session>, int32_t>> takers(batch.size());
  {
    std::lock_guard lock(mutex_);
    for (size_t i = 0; i < batch.size(); ++i) {
      const auto found = entries_.find(batch[i].id);
      if (found == entries_.end()) continue;  // cancelled meanwhile
      takers[i] = {found->second.session, found->second.choice};
      if (batch[i].finished()) erase(found);
    }
  }
  for (size_t i = 0; i < batch.size(); ++i) {
    if (takers[i].first) takers[i].first->post_output(takers[i].second, std::move(batch[i]));
  }
}

void Service::cancel_choice(RequestId first, int32_t choice) {
  const RequestId id = first + static_cast<RequestId>(choice);
  Engine* engine = nullptr;
  {
    std::lock_guard lock(mutex_);
    const auto found = entries_.find(id);
    if (found == entries_.end()) return;  // ended in the engine already
    engine = engines_[found->second.seat.replica];
    erase(found);
  }
  engine->cancel(id);
}

void Service::session_ended(RequestId first, int32_t choices) { forget(first, choices); }

void Service::forget(RequestId first, int32_t choices) {
  std::lock_guard lock(mutex_);
  for (int32_t i = 0; i < choices; ++i) {
    const auto found = entries_.find(first + static_cast<RequestId>(i));
    if (found != entries_.end()) erase(found);
  }
}

void Service::erase(Entries::iterator entry) {
  replicas_->release(entry->second.seat);
  entries_.erase(entry);
}

void Service::stop() {
  stopped_ = true;
  std::vector<std::shared_ptr<Session>> sessions;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, entry] : entries_) sessions.push_back(entry.session);
  }
  for (const auto& session : sessions) {
    session->post_failure(
        {ErrorKind::kUnavailable, "the server stopped before the request ended", ""});
  }
}

void Service::join() {
  text_in_.join();
  text_out_.join();
}

}  // namespace m2
