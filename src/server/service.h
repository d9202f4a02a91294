// Runs requests: text-in pool, engines, text-out pool. The APIs hand in sessions that are ready to
// run; the engines' outputs are handed to the sessions' strands.
//
// Thread-safety: all methods from any thread; serve() once.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/thread_pool.h"
#include "engine/engine.h"
#include "server/http/exchange.h"
#include "server/prompts.h"
#include "server/replicas.h"
#include "server/server.h"
#include "server/server_metrics.h"
#include "server/session.h"

namespace m2 {

// Counts a request as open from its arrival to its last byte's hand-over.
class OpenCount {
 public:
  OpenCount() = default;
  explicit OpenCount(std::atomic<int64_t>& count) : count_(&count) { ++count; }
  OpenCount(OpenCount&& other) noexcept : count_(std::exchange(other.count_, nullptr)) {}
  OpenCount& operator=(OpenCount&& other) noexcept {
    std::swap(count_, other.count_);
    return *this;
  }
  ~OpenCount() {
    if (count_) --*count_;
  }

 private:
  std::atomic<int64_t>* count_ = nullptr;
};

class Service : public OutputSink, public SessionHost {
 public:
  // All outlive the service.
  Service(const ServerOptions& options, const ServerModel& model, ServerMetrics& metrics);
  ~Service() override;

  void serve(std::vector<Engine*> engines);
  void drain() { draining_ = true; }
  // Ends every open session with an error; nothing is taken afterwards.
  void stop();
  // After stop(), when no more requests come: waits for the text threads. Only then may the engines
  // go: a session can end while the thread that submits it still holds one.
  void join();
  bool serving() const { return serving_; }
  bool idle() const { return open_requests_ == 0; }
  int64_t open_requests() const { return open_requests_; }

  // kUnavailable with the reason while loading, draining, or after a fault.
  Status ready() const;
  // The same for a request that was taken before the server began to drain.
  Status working() const;

  const Prompts& prompts() const { return prompts_; }
  int32_t vocab_size() const { return vocab_size_; }

  // Runs `task` on the text-in pool; kUnavailable when its queue is full.
  Status post(Task task);
  OpenCount open_request() { return OpenCount(open_requests_); }

  // Hands the session's choices to an engine. What goes wrong, now or later, reaches its writer.
  void run(SessionPlan plan, const std::shared_ptr<HttpExchange>& exchange);

  void publish(std::span<RequestOutput> batch) override;  // engine threads

 private:
  struct Entry {
    std::shared_ptr<Session> session;
    Replicas::Seat seat;
    int32_t choice;
  };

  using Entries = std::unordered_map<RequestId, Entry>;

  std::vector<Replicas::Seat> take_seats(const SessionPlan& plan);
  void submit(const std::shared_ptr<Session>& session, const std::vector<Replicas::Seat>& seats);
  void erase(Entries::iterator entry);
  void forget(RequestId first, int32_t choices);
  void cancel_choice(RequestId first, int32_t choice) override;
  void session_ended(RequestId first, int32_t choices) override;

  const ServerOptions& options_;
  ServerMetrics& metrics_;
  Prompts prompts_;
  std::vector<Engine*> engines_;  // one a replica
  std::unique_ptr<Replicas> replicas_;
  int32_t vocab_size_ = 0;
  std::atomic<bool> serving_{false}, draining_{false}, stopped_{false};
  std::atomic<int64_t> open_requests_{0};
  std::atomic<RequestId> next_id_{1};

  std::mutex mutex_;
  Entries entries_;

  // Last: their threads use all of the above.
  ThreadPool text_out_, text_in_;
};

}  // namespace m2
