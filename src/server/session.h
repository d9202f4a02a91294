// One API request while it runs: its choices' texts, what they cost, and the API's writer. A prompt
// with n choices runs as n requests of the engine (which share the prompt through its prefix
// cache), so that each can end by a stop string on its own.
//
// Thread-safety: make_request and the getters from any thread; all else on the request's strand,
// through post_….
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/thread_pool.h"
#include "engine/output.h"
#include "engine/request.h"
#include "server/chat.h"
#include "server/choice_text.h"
#include "server/reply_writer.h"
#include "server/server_metrics.h"

namespace m2 {

// What a session needs of the service.
class SessionHost {
 public:
  virtual ~SessionHost() = default;
  virtual void cancel_choice(RequestId first, int32_t choice) = 0;  // in the engine
  virtual void session_ended(RequestId first, int32_t choices) = 0;
};

// All that a request is, ready to run.
struct SessionPlan {
  explicit SessionPlan(const Tokenizer& tokenizer) : text(tokenizer) {}

  std::vector<std::vector<TokenId>> prompts;
  std::vector<int32_t> max_tokens;  // of each prompt's choices; 0: nothing is generated
  std::vector<int32_t> engines;     // of each choice: which replica runs it
  GenerationOptions options;
  ChoiceTextRules text;
  std::vector<TokenId> eos_token_ids;
  uint64_t client = 0;  // whose request it is: each client gets its share
  int32_t stream_interval = 1;
  std::chrono::steady_clock::time_point arrival =
      std::chrono::steady_clock::now();  // of the request
  std::unique_ptr<ReplyWriter> writer;
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(SessionPlan plan, RequestId first, SessionHost& host, ServerMetrics& metrics,
          ThreadPool& pool);
  ~Session();

  RequestId first() const { return first_; }
  int32_t choices() const { return static_cast<int32_t>(choices_.size()); }
  Request make_request(int32_t choice) const;
  bool ended() const { return ended_; }

  void post_output(int32_t choice, RequestOutput output);
  void post_failure(Error error);
  void post_abandon();  // the client has gone

 private:
  using Clock = std::chrono::steady_clock;
  struct Choice;

  int32_t prompt_of(int32_t choice) const { return choice / plan_.options.n; }
  bool scores_alone(int32_t prompt) const;
  static void draw_last_of_prompt(Request& request);
  void take(int32_t choice, RequestOutput output);
  void take_tokens(Choice& choice, const RequestOutput& output);
  void note_times(Choice& choice, size_t tokens);
  void finish_choice(int32_t index, FinishReason reason);
  void emit(int32_t index);
  void count_ended(int32_t index, FinishReason reason);
  void fail(const Error& error);
  void cancel_open(FinishReason reason);
  void end();

  const SessionPlan plan_;
  const RequestId first_;
  const uint64_t seed_;
  SessionHost& host_;
  ServerMetrics& metrics_;
  const std::shared_ptr<Strand> strand_;
  std::vector<std::unique_ptr<Choice>> choices_;
  ReplyUsage usage_;
  int32_t open_choices_;
  std::atomic<bool> ended_{false};
};

}  // namespace m2
