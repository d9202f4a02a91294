// The HTTP server: sockets, APIs, text in and out; the engine's other side. cli wires it so:
//
//   Server::create(options)   checks options, loads TLS files
//   start()        listens; /health and every request to the model say 503 and how far the start is
//   open(model)    the text side: what the model's small files say
//   Engine(…, executor, server.sink()), a thread in Engine::run()
//   serve({&engine, …})   /health says 200, requests are taken
//   drain()        nothing new is taken (503 + Retry-After), open requests go on
//   wait_idle(…)   until the open requests have been answered, or the time is over
//   stop()         cuts what is left with an error, closes the sockets, joins the threads
//
// Thread-safety: sink().publish() from any number of engine threads; healthy-state and drain() from
// any thread; create, start, open, serve, wait_idle and stop from one thread, in that order. stop()
// comes before the engines' destruction; it does not stop the engines themselves.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/engine.h"
#include "engine/output.h"
#include "json/json.h"
#include "server/limits.h"
#include "text/chat_template.h"
#include "text/reply_parser.h"
#include "text/tokenizer.h"

namespace m2 {

// What a request draws with where it says nothing: the model's generation_config.json, or the
// library's neutral values.
struct SamplingDefaults {
  float temperature = 1.0f, top_p = 1.0f, min_p = 0.0f;
  int32_t top_k = 0;  // 0 is off
  float repetition_penalty = 1.0f;
  int32_t max_tokens = 0;  // 0: what the context leaves (chat) or 16 (completions)
};

struct ServerOptions {
  // Where to listen
  std::string host;      // empty: all interfaces
  uint16_t port = 8000;  // 0: a free one, see Server::port()
  std::string uds;       // a Unix socket's path; host and port are then not used
  std::string ssl_keyfile, ssl_certfile, ssl_ciphers, ssl_ca_certs;
  int32_t ssl_cert_reqs = 0;  // certificates of clients: 0 none, 1 checked if sent, 2 required
  std::string root_path;      // a prefix that a proxy leaves on the path

  // Who may ask
  std::vector<std::string> api_keys;  // empty: everybody
  std::vector<std::string> allowed_origins{"*"}, allowed_methods{"*"}, allowed_headers{"*"};
  bool allow_credentials = false;
  bool request_id_headers = false;  // X-Request-Id in every reply, not only where one was sent

  // The model as clients see it
  std::vector<std::string> served_names;  // the first is reported; not empty
  std::string model_root;                 // /v1/models' "root"
  std::string version = "0";              // /version
  bool priority_scheduling = false;       // a request's "priority" counts

  // Replies
  ReasoningMode reasoning = ReasoningMode::kSplit;
  bool exclude_tools_when_none = false;
  json::Object template_kwargs;  // defaults that a request's chat_template_kwargs override
  bool parse_special_in_text = false;
  std::string response_role = "assistant";
  int32_t max_logprobs = 20;   // -1: the whole vocabulary
  bool tokens_as_ids = false;  // "token_id:5" in place of text in logprobs
  bool force_include_usage = false;
  int32_t stream_interval = 1;   // tokens a chunk; the first and the last come at once
  std::optional<uint64_t> seed;  // of requests without one, with their number; none: random

  // The process
  ServerLimits limits;
  int32_t io_threads = 1;        // 1 … 4
  int32_t text_in_threads = 2;   // template and tokenise
  int32_t text_out_threads = 2;  // detokenise, parse
  int32_t max_text_in_queue = 1024;
  std::chrono::milliseconds ping_interval{15'000};  // SSE comments while nothing else is sent
  std::chrono::milliseconds stats_interval{10'000};
  std::chrono::milliseconds stall_timeout{0};  // no engine turn for so long is a fault; 0: never
  bool log_stats = true;
  bool log_requests = false;  // one line a request, with sizes and parameters; never its text
  // How far the start is ("downloading 41 %"), asked from io threads until serve(); must not block.
  std::function<std::string()> starting = [] { return std::string("loading"); };
};

// What the model's files say. The tokenizer and the template outlive the server.
struct ServerModel {
  const Tokenizer* tokenizer = nullptr;
  const ChatTemplate* chat_template = nullptr;  // null: chat is refused with a reason
  std::vector<TokenId> eos_token_ids;
  SamplingDefaults sampling{};
};

class Server {
 public:
  static Result<std::unique_ptr<Server>> create(ServerOptions options);
  ~Server();  // stop()

  // Binds and listens. A port in use is an error whose message says so.
  Status start();
  uint16_t port() const;        // once started; 0 on a Unix socket
  std::string address() const;  // "http://127.0.0.1:8000", for people

  // Once, before sink().
  Status open(ServerModel model);

  // Give it to every engine at its construction.
  OutputSink& sink();

  // From now on requests are taken; each goes to the engine with the fewest. All have the same
  // capacity() and outlive stop().
  void serve(std::vector<Engine*> engines);

  void drain();
  bool wait_idle(std::chrono::milliseconds timeout);  // true when no request is open
  void stop();

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace m2
