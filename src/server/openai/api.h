// OpenAI's routes: from an HTTP request to a session, or at once to a reply.
//
// Thread-safety: all methods from any thread; the work is done on the service's text-in pool.
#pragma once

#include <chrono>
#include <memory>

#include "server/http/exchange.h"
#include "server/http/message.h"
#include "server/openai/chat.h"
#include "server/openai/completions.h"
#include "server/openai/reply.h"
#include "server/openai/unknown_fields.h"
#include "server/server.h"
#include "server/service.h"

namespace m2 {

class OpenAiApi {
 public:
  // All outlive this.
  OpenAiApi(const ServerOptions& options, const ServerModel& model, Service& service);

  void chat(HttpRequest request, std::shared_ptr<HttpExchange> exchange);
  void completions(HttpRequest request, std::shared_ptr<HttpExchange> exchange);
  void tokenize(HttpRequest request, std::shared_ptr<HttpExchange> exchange);
  void detokenize(HttpRequest request, std::shared_ptr<HttpExchange> exchange);
  HttpReply models() const;
  HttpReply model(const std::string& id) const;

 private:
  // One request on its way from the io thread to a session.
  struct Job {
    HttpRequest request;
    std::shared_ptr<HttpExchange> exchange;
    OpenCount open;
    std::chrono::steady_clock::time_point arrival;
  };
  using Work = Status (OpenAiApi::*)(Job&);

  void queue(HttpRequest request, std::shared_ptr<HttpExchange> exchange, Work work);
  Result<json::Value> take_body(Job& job, RequestKind kind);
  Status run_chat(Job& job);
  Status run_completions(Job& job);
  Status run_tokenize(Job& job);
  Status run_detokenize(Job& job);

  RequestRules rules() const { return {options_, model_.sampling, service_.vocab_size()}; }
  OpenAiReply make_reply(Job& job, ReplySettings settings, const char* id_prefix) const;
  SessionPlan make_plan(const Job& job, GenerationOptions options,
                        const ReplySettings& settings) const;
  Status check_total(const SessionPlan& plan, bool stream) const;
  Status check_logprobs(const SessionPlan& plan, bool stream) const;
  void log_request(const OpenAiReply& reply, const SessionPlan& plan) const;
  std::string model_card(const std::string& name) const;

  const ServerOptions& options_;
  const ServerModel& model_;
  Service& service_;
  const ReplyTokens control_;
  const int64_t started_ = now_seconds();
  UnknownFields unknown_;
};

}  // namespace m2
