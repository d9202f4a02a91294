#include "cli/serve.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <utility>

#include "backend/cpu/host.h"
#include "base/log.h"
#include "base/random.h"
#include "cli/help.h"
#include "cli/serve_flags.h"
#include "cli/signals.h"
#include "cli/version.h"
#include "engine/engine.h"
#include "server/server.h"

namespace m2::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

SamplingDefaults sampling_defaults(const GenerationConfig& generation) {
  SamplingDefaults out;
  out.temperature = generation.temperature;
  out.top_p = generation.top_p;
  out.min_p = generation.min_p;
  out.top_k = generation.top_k;
  out.repetition_penalty = generation.repetition_penalty;
  out.max_tokens = generation.max_new_tokens.value_or(0);
  return out;
}

ServerOptions server_options(const ServeOptions& options, const StartState& state) {
  ServerOptions out;
  out.host = options.host;
  out.port = options.port;
  out.uds = options.uds;
  out.ssl_keyfile = options.ssl_keyfile;
  out.ssl_certfile = options.ssl_certfile;
  out.ssl_ciphers = options.ssl_ciphers;
  out.ssl_ca_certs = options.ssl_ca_certs;
  out.ssl_cert_reqs = options.ssl_cert_reqs;
  out.root_path = options.root_path;
  out.api_keys = options.api_keys;
  out.allowed_origins = options.allowed_origins;
  out.allowed_methods = options.allowed_methods;
  out.allowed_headers = options.allowed_headers;
  out.allow_credentials = options.allow_credentials;
  out.request_id_headers = options.request_id_headers;
  out.served_names = options.served_names;
  out.model_root = options.model;
  out.version = version_number();
  out.priority_scheduling = options.priority_scheduling;
  out.reasoning = options.reasoning;
  out.stall_timeout = seconds(static_cast<int64_t>(options.step_timeout_s) + 5);
  out.exclude_tools_when_none = options.exclude_tools_when_none;
  out.template_kwargs = options.template_kwargs;
  out.parse_special_in_text = options.parse_special_in_text;
  out.response_role = options.response_role;
  out.max_logprobs = options.max_logprobs;
  out.tokens_as_ids = options.tokens_as_ids;
  out.force_include_usage = options.force_include_usage;
  out.stream_interval = options.stream_interval;
  out.seed = options.seed;
  out.log_stats = options.log_stats;
  out.stats_interval = milliseconds(static_cast<int64_t>(options.stats_interval_s * 1000));
  out.log_requests = options.log_requests;
  // Sockets need few threads: one a four cores, as the design of the server says at most four.
  out.io_threads = std::clamp(usable_cores() / 4, 1, 4);
  out.starting = [&state] { return state.text(); };
  return out;
}

ServerModel server_model(const ModelFiles& files) {
  return {files.tokenizer.get(), files.chat_template.get(), files.eos_token_ids,
          sampling_defaults(files.generation)};
}

EngineOptions engine_options(const ServeOptions& options) {
  EngineOptions out;
  out.max_waiting = options.max_waiting;
  out.prefix_caching = options.prefix_caching;
  out.chunked_prefill = options.chunked_prefill;
  out.long_prefill_tokens = options.long_prefill_tokens;
  out.policy = options.priority_scheduling ? SchedulingPolicy::kPriority : SchedulingPolicy::kFcfs;
  out.share_by_client = options.share_by_key;
  out.step_deadline = milliseconds(static_cast<int64_t>(options.step_timeout_s * 1000));
  // Unknown to clients, so that none can make prompts whose cache keys collide with another's.
  out.cache_key = random_bits();
  return out;
}

void warn_if_open(const ServeOptions& options) {
  const bool local = options.host == "127.0.0.1" || options.host == "localhost" ||
                     options.host == "::1" || !options.uds.empty();
  if (local || !options.api_keys.empty()) return;
  log_warning(
      "listening on {} without an API key: whoever reaches this port may use the model; "
      "set --api-key or --host 127.0.0.1",
      options.host.empty() ? "all interfaces" : options.host);
}

// Runs `work` on a thread of its own while the main thread listens for signals: loading a big
// model takes minutes, and Ctrl-C must end it at once. Nothing that is half loaded needs care.
template <typename Work>
void run_interruptible(Signals& signals, Server& server, const Work& work) {
  std::thread thread([&] {
    work();
    signals.wake();
  });
  if (signals.wait() == Signals::Event::kStop) {
    log_info("stopped while starting");
    server.stop();  // a socket's file goes with it
    std::_Exit(kExitFailure);
  }
  thread.join();
}

// Lets open requests end within --shutdown-timeout; a second signal cuts it short.
void drain(const ServeOptions& options, Signals& signals, Server& server) {
  server.drain();
  const auto deadline = Clock::now() + seconds(options.shutdown_timeout_s);
  if (options.shutdown_timeout_s > 0) {
    log_info("draining: open requests have {} s; a second signal stops at once",
             options.shutdown_timeout_s);
  }
  while (!server.wait_idle(milliseconds(0)) && Clock::now() < deadline) {
    if (signals.wait_for(milliseconds(50)) == Signals::Event::kStop) break;
  }
}

// After a fault a rank may hang, and a client may not read its error: neither keeps the process.
constexpr milliseconds kEndAfterFault{1500};

void end_after_fault() {
  std::thread([] {
    std::this_thread::sleep_for(kEndAfterFault);
    std::_Exit(kExitFailure);
  }).detach();
}

// One engine a replica, each on a thread of its own. A fault of one ends the program, as it would
// with one engine: whoever restarts it brings back all of them.
class Engines {
 public:
  Engines(const EngineOptions& options, const Executors& executors, OutputSink& sink,
          Signals& signals)
      : ended_(executors.size()) {
    for (const auto& executor : executors) {
      engines_.push_back(std::make_unique<Engine>(options, *executor, sink));
    }
    for (size_t i = 0; i < engines_.size(); ++i) {
      threads_.emplace_back([this, i, &signals] {
        ended_[i] = engines_[i]->run();
        signals.wake();
      });
    }
  }

  std::vector<Engine*> all() const {
    std::vector<Engine*> all;
    for (const auto& engine : engines_) all.push_back(engine.get());
    return all;
  }
  void stop() {
    for (const auto& engine : engines_) engine->stop();
    for (std::thread& thread : threads_) thread.join();
  }
  // The first fault; after stop().
  Status outcome() const {
    for (const Status& status : ended_) M2_TRY(status);
    return {};
  }

 private:
  std::vector<std::unique_ptr<Engine>> engines_;
  std::vector<Status> ended_;
  std::vector<std::thread> threads_;
};

int report(const Error& error) {
  log_error("{}", error.message);
  return kExitFailure;
}

// From the model's small files, which are read, to the end.
int run(const ServeOptions& options, ModelFiles& files, const ExecutorFactory& make_executors,
        const RoomCheck& room, StartState& state, Server& server, Signals& signals) {
  if (const Status opened = server.open(server_model(files)); !opened) {
    return report(opened.error());
  }
  Result<Executors> executors;
  const auto obtain = [&]() -> Status {
    if (!files.obtained.download) return {};
    if (room) M2_TRY(room(options, files));
    state.phase = StartPhase::kDownload;
    return obtain_weights(files.obtained, state.download);
  };
  run_interruptible(signals, server, [&] {
    const Status there = obtain();
    state.phase = StartPhase::kLoad;
    executors = there ? make_executors(options, files, state) : tl::unexpected(there.error());
  });
  if (!executors) return report(executors.error());

  Engines engines(engine_options(options), *executors, server.sink(), signals);
  server.serve(engines.all());
  log_info("ready: {} as {}", server.address(), fmt::join(options.served_names, ", "));

  const bool asked = signals.wait() == Signals::Event::kStop;
  if (!asked) end_after_fault();
  if (asked) drain(options, signals, server);
  // A step under way may take long: whoever asks once more does not wait for it.
  signals.release();
  engines.stop();
  // Before the engines' plans go: a rank may still be reading them.
  executors->clear();
  // What the engines said last still has to reach the clients.
  server.wait_idle(seconds(1));
  server.stop();
  if (const Status ended = engines.outcome(); !ended) {
    report(ended.error());
    std::_Exit(kExitFailure);  // a rank that hangs still reads the engine's plans: nothing is freed
  }
  if (!asked) return report(Error{ErrorKind::kInternal, "the engine ended by itself", ""});
  log_info("stopped");
  return kExitOk;
}

}  // namespace

int serve(Arguments arguments, const ExecutorFactory& make_executors, const RoomCheck& room) {
  auto flags = parse_serve_flags(arguments);
  if (flags && flags->help) {
    return print_help(serve_command(), flags->help_topic);
  }
  Result<ServeOptions> options = tl::unexpected(Error{});
  if (flags) options = make_serve_options(std::move(*flags), read_environment());
  if (!flags || !options) {
    fmt::print(stderr, "m2 serve: {}\n", (flags ? options.error() : flags.error()).message);
    return kExitUsage;
  }
  set_log_level(options->log_level);
  Signals signals;  // before any thread
  log_info("{}", version_line());
  for (const std::string& warning : options->warnings) log_warning("{}", warning);
  for (const std::string& note : options->notes) log_info("{}", note);

  // The port first: a busy one is known before minutes of downloading and loading, and /health
  // tells of them.
  StartState state;
  Result<ModelFiles> files = tl::unexpected(Error{});  // outlives the server, which reads it
  auto server = Server::create(server_options(*options, state));
  if (!server) return report(server.error());
  if (const Status started = (*server)->start(); !started) return report(started.error());
  warn_if_open(*options);
  log_info("listening on {}; /health tells how far the start is", (*server)->address());

  const auto start = Clock::now();
  run_interruptible(signals, **server, [&] { files = open_model(*options); });
  if (!files) return report(files.error());
  log_info("model {} from {}: {}", options->served_names[0], files->folder,
           describe(files->config));
  log_info("tokenizer and template read in {:.2f} s", seconds_since(start));
  log_info("{}", describe_sampling(*options, *files));
  return run(*options, *files, make_executors, room, state, **server, signals);
}

}  // namespace m2::cli
