#include "server/service.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace m2 {
namespace {

// Strands never refuse: a full queue makes the engine's thread do the work. So it is never full,
// with a task a strand.
constexpr size_t kTextOutQueue = 1u << 20;

}  // namespace

Service::Service(const ServerOptions& options, const ServerText& text, ServerMetrics& metrics)
    : options_(options),
      metrics_(metrics),
      prompts_(options, text),
      text_out_("m2-text-out", options.text_out_threads, kTextOutQueue),
      text_in_("m2-text-in", options.text_in_threads,
               static_cast<size_t>(options.max_text_in_queue)) {}

Service::~Service() { stop(); }

void Service::serve(std::vector<Engine*> engines) {
  M2_CHECK(!engines.empty() && !serving_);
  engines_ = std::move(engines);
  const Capacity& capacity = engines_[0]->capacity();
  const int64_t cache = int64_t{capacity.num_blocks} * capacity.block_tokens;
  prompts_.set_context(static_cast<int32_t>(std::min<int64_t>(capacity.max_model_tokens, cache)));
  vocab_size_ = capacity.vocab_size;
  metrics_.set_engines({engines_.begin(), engines_.end()});
  serving_ = true;  // releases all of the above to other threads
}

Status Service::ready() const {
  const auto unavailable = [](const char* why) {
    return fail(ErrorKind::kUnavailable, "", "{}", why);
  };
  if (draining_ || stopped_) return unavailable("the server is shutting down");
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
  return fail(ErrorKind::kUnavailable, "", "{} requests wait to be read; try again later",
              options_.max_text_in_queue);
}

Engine& Service::least_busy() const {
  const auto load = [](const Engine* engine) {
    return engine->stats().running + engine->stats().waiting;
  };
  return **std::min_element(engines_.begin(), engines_.end(),
                            [&](const Engine* a, const Engine* b) { return load(a) < load(b); });
}

void Service::run(SessionPlan plan, const std::shared_ptr<HttpExchange>& exchange) {
  metrics_.request_started(plan.options.n,
                           *std::max_element(plan.max_tokens.begin(), plan.max_tokens.end()));
  const auto choices = plan.prompts.size() * static_cast<size_t>(plan.options.n);
  const auto session = std::make_shared<Session>(std::move(plan), next_id_.fetch_add(choices),
                                                 *this, metrics_, text_out_);
  // A weak reference: the session owns the exchange through its writer.
  exchange->on_gone([weak = std::weak_ptr<Session>(session)] {
    if (const auto open = weak.lock()) open->post_abandon();
  });
  submit(session);
}

void Service::submit(const std::shared_ptr<Session>& session) {
  Engine& engine = least_busy();
  const RequestId first = session->first();
  {
    std::lock_guard lock(mutex_);
    for (int32_t i = 0; i < session->choices(); ++i) {
      entries_.emplace(first + static_cast<RequestId>(i), Entry{session, &engine, i});
    }
  }
  Status status = ready();
  for (int32_t i = 0; i < session->choices() && status; ++i) {
    status = engine.submit(session->make_request(i));
  }
  if (!status) session->post_failure(std::move(status.error()));
  // The client may have gone, or stop() come, before the last choice was handed over.
  if (session->ended()) {
    for (int32_t i = 0; i < session->choices(); ++i) {
      engine.cancel(first + static_cast<RequestId>(i));
    }
    forget(first, session->choices());
  }
}

void Service::publish(std::vector<RequestOutput> batch) {
  std::vector<std::pair<std::shared_ptr<Session>, int32_t>> takers(batch.size());
  {
    std::lock_guard lock(mutex_);
    for (size_t i = 0; i < batch.size(); ++i) {
      const auto found = entries_.find(batch[i].id);
      if (found == entries_.end()) continue;  // cancelled meanwhile
      takers[i] = {found->second.session, found->second.choice};
      if (batch[i].finished) entries_.erase(found);
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
    engine = found->second.engine;
    entries_.erase(found);
  }
  engine->cancel(id);
}

void Service::session_ended(RequestId first, int32_t choices) { forget(first, choices); }

void Service::forget(RequestId first, int32_t choices) {
  std::lock_guard lock(mutex_);
  for (int32_t i = 0; i < choices; ++i) entries_.erase(first + static_cast<RequestId>(i));
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

}  // namespace m2
