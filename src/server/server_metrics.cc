#include "server/server_metrics.h"

#include <fmt/format.h>

#include <atomic>
#include <utility>

#include "server/reply_writer.h"

namespace m2 {
namespace {

using Bounds = std::vector<double>;
using Clock = std::chrono::steady_clock;

const Bounds kFirstToken = {.001, .005, .01, .02, .04, .06, .08, .1, .25, .5,  .75,
                            1,    2.5,  5,   7.5, 10,  20,  40,  80, 160, 640, 2560};
const Bounds kNextToken = {.01, .025, .05, .075, .1,  .15, .2, .3, .4, .5,
                           .75, 1,    2.5, 5,    7.5, 10,  20, 40, 80};
const Bounds kRequestTime = {.3, .5, .8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                             30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};

// 1, 2, 5, 10, … up to `most`.
Bounds one_two_five(double most) {
  Bounds bounds;
  double power = 1;
  while (power <= most) {
    for (const double step : {1, 2, 5}) {
      if (step * power <= most) bounds.push_back(step * power);
    }
    power *= 10;
  }
  return bounds;
}

double seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

// One engine's counters, copied to the registry when somebody looks.
struct EngineNumbers {
  const Engine* engine;
  Gauge running, waiting, cache_usage, old_cache_usage;
  Counter prompt, generation, queries, hits, preemptions;

  void update() {
    const EngineStats& stats = engine->stats();
    running.set(static_cast<double>(stats.running));
    waiting.set(static_cast<double>(stats.waiting));
    const double total = static_cast<double>(stats.blocks_total);
    const double usage = total > 0 ? static_cast<double>(stats.blocks_used) / total : 0;
    cache_usage.set(usage);
    old_cache_usage.set(usage);
    prompt.advance_to(static_cast<double>(stats.prompt_tokens));
    generation.advance_to(static_cast<double>(stats.generation_tokens));
    queries.advance_to(static_cast<double>(stats.prefix_queries));
    hits.advance_to(static_cast<double>(stats.prefix_hits));
    preemptions.advance_to(static_cast<double>(stats.preemptions));
  }
};

// What the server itself measures of the requests of one engine.
struct RequestNumbers {
  Counter stop, length, abort, error;
  Histogram ttft, itl, old_itl, tpot, e2e, decode, prompt_tokens, generation_tokens,
      max_generation_tokens, params_n, params_max_tokens;

  Counter& ended(FinishReason reason) {
    switch (reason) {
      case FinishReason::kStop:
        return stop;
      case FinishReason::kLength:
        return length;
      case FinishReason::kError:
        return error;
      default:
        return abort;
    }
  }
};

struct Totals {
  int64_t running = 0, waiting = 0, prompt = 0, generation = 0, queries = 0, hits = 0, used = 0,
          blocks = 0;
};

}  // namespace

struct ServerMetrics::Impl {
  explicit Impl(std::string name) : model_name(std::move(name)) {}

  MetricLabels labels_of(size_t engine) const {
    return {{"model_name", model_name}, {"engine", std::to_string(engine)}};
  }
  EngineNumbers numbers(const Engine& engine, size_t index);
  RequestNumbers request_numbers(size_t index, double most_tokens);
  Totals totals() const;

  const std::string model_name;
  Metrics metrics;
  std::mutex mutex;  // of update() and the log line's memory
  std::vector<EngineNumbers> engines;
  std::vector<RequestNumbers> requests;  // of each engine
  Totals last;
  Clock::time_point last_time = Clock::now();
};

EngineNumbers ServerMetrics::Impl::numbers(const Engine& engine, size_t index) {
  const MetricLabels own = labels_of(index);
  const auto gauge = [&](const char* name, const char* help) {
    return metrics.gauge(name, help, own);
  };
  const auto counter = [&](const char* name, const char* help) {
    return metrics.counter(name, help, own);
  };
  MetricLabels sizes = own;
  sizes["block_size"] = std::to_string(engine.capacity().block_tokens);
  sizes["num_gpu_blocks"] = std::to_string(engine.capacity().num_blocks);
  metrics.gauge("vllm:cache_config_info", "Sizes of the KV cache, as labels", sizes).set(1);
  return {&engine,
          gauge("vllm:num_requests_running", "Sequences that run"),
          gauge("vllm:num_requests_waiting", "Sequences that wait"),
          gauge("vllm:kv_cache_usage_perc", "KV blocks in use, 1 is all"),
          gauge("vllm:gpu_cache_usage_perc", "KV blocks in use, 1 is all (older name)"),
          counter("vllm:prompt_tokens_total", "Prompt tokens taken in"),
          counter("vllm:generation_tokens_total", "Tokens generated"),
          counter("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache"),
          counter("vllm:prefix_cache_hits_total", "Prompt tokens found in the prefix cache"),
          counter("vllm:num_preemptions_total", "Sequences put back to wait")};
}

RequestNumbers ServerMetrics::Impl::request_numbers(size_t index, double most_tokens) {
  const MetricLabels own = labels_of(index);
  const Bounds sizes = one_two_five(most_tokens);
  const auto histogram = [&](const char* name, const char* help, const Bounds& bounds) {
    return metrics.histogram(name, help, own, bounds);
  };
  const auto ended = [&](FinishReason reason) {
    MetricLabels all = own;
    all["finished_reason"] = finish_name(reason);
    return metrics.counter("vllm:request_success_total", "Requests that ended, by reason", all);
  };
  return {
      .stop = ended(FinishReason::kStop),
      .length = ended(FinishReason::kLength),
      .abort = ended(FinishReason::kAbort),
      .error = ended(FinishReason::kError),
      .ttft = histogram("vllm:time_to_first_token_seconds", "Time to the first token", kFirstToken),
      .itl = histogram("vllm:inter_token_latency_seconds", "Time between tokens", kNextToken),
      .old_itl = histogram("vllm:time_per_output_token_seconds", "Time between tokens (older name)",
                           kNextToken),
      .tpot = histogram("vllm:request_time_per_output_token_seconds",
                        "A request's mean time a token after the first", kNextToken),
      .e2e = histogram("vllm:e2e_request_latency_seconds", "Time of a request", kRequestTime),
      .decode = histogram("vllm:request_decode_time_seconds",
                          "Time from the first token to the last", kRequestTime),
      .prompt_tokens = histogram("vllm:request_prompt_tokens", "Prompt tokens of a request", sizes),
      .generation_tokens =
          histogram("vllm:request_generation_tokens", "Tokens generated for a request", sizes),
      .max_generation_tokens = histogram("vllm:request_max_num_generation_tokens",
                                         "Most tokens generated for a choice", sizes),
      .params_n = histogram("vllm:request_params_n", "Choices asked for", {1, 2, 5, 10, 20}),
      .params_max_tokens =
          histogram("vllm:request_params_max_tokens", "max_tokens asked for", sizes),
  };
}

Totals ServerMetrics::Impl::totals() const {
  Totals all;
  for (const EngineNumbers& numbers : engines) {
    const EngineStats& stats = numbers.engine->stats();
    all.running += stats.running;
    all.waiting += stats.waiting;
    all.prompt += stats.prompt_tokens;
    all.generation += stats.generation_tokens;
    all.queries += stats.prefix_queries;
    all.hits += stats.prefix_hits;
    all.used += stats.blocks_used;
    all.blocks += stats.blocks_total;
  }
  return all;
}

ServerMetrics::ServerMetrics(std::string model_name)
    : impl_(std::make_unique<Impl>(std::move(model_name))) {}
ServerMetrics::~ServerMetrics() = default;

void ServerMetrics::set_engines(std::vector<const Engine*> engines) {
  std::lock_guard lock(impl_->mutex);
  for (size_t i = 0; i < engines.size(); ++i) {
    impl_->engines.push_back(impl_->numbers(*engines[i], i));
    impl_->requests.push_back(impl_->request_numbers(i, engines[i]->capacity().max_model_tokens));
  }
}

void ServerMetrics::first_token(int32_t engine, double seconds) {
  impl_->requests[engine].ttft.observe(seconds);
}

void ServerMetrics::next_tokens(int32_t engine, double seconds, int32_t tokens) {
  RequestNumbers& numbers = impl_->requests[engine];
  for (int32_t i = 0; i < tokens; ++i) {
    numbers.itl.observe(seconds / tokens);
    numbers.old_itl.observe(seconds / tokens);
  }
}

void ServerMetrics::request_started(int32_t engine, int32_t n, int32_t max_tokens) {
  impl_->requests[engine].params_n.observe(n);
  impl_->requests[engine].params_max_tokens.observe(max_tokens);
}

void ServerMetrics::choice_ended(int32_t engine, FinishReason reason, const ChoiceTimes& times) {
  RequestNumbers& numbers = impl_->requests[engine];
  numbers.ended(reason).add();
  numbers.e2e.observe(seconds(times.end - times.arrival));
  if (times.first_choice) numbers.prompt_tokens.observe(times.prompt_tokens);
  numbers.generation_tokens.observe(times.completion_tokens);
  numbers.max_generation_tokens.observe(times.completion_tokens);
  if (times.completion_tokens < 1) return;
  const double decode = seconds(times.last_token - times.first_token);
  numbers.decode.observe(decode);
  if (times.completion_tokens > 1) numbers.tpot.observe(decode / (times.completion_tokens - 1));
}

std::string ServerMetrics::render() {
  {
    std::lock_guard lock(impl_->mutex);
    for (EngineNumbers& numbers : impl_->engines) numbers.update();
  }
  return impl_->metrics.render();
}

std::string ServerMetrics::stats_line() {
  std::lock_guard lock(impl_->mutex);
  const Totals now = impl_->totals();
  const Totals before = std::exchange(impl_->last, now);
  const auto time = Clock::now();
  const double interval = seconds(time - std::exchange(impl_->last_time, time));
  const bool busy = now.running > 0 || now.waiting > 0 || now.generation != before.generation ||
                    now.prompt != before.prompt;
  if (!busy || interval <= 0) return "";
  const auto percent = [](int64_t part, int64_t whole) {
    return whole > 0 ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0.0;
  };
  return fmt::format(
      "running {}, waiting {}, prompt {:.1f} tokens/s, generation {:.1f} tokens/s, KV cache "
      "{:.1f} % used, prefix cache {:.1f} % hits",
      now.running, now.waiting, static_cast<double>(now.prompt - before.prompt) / interval,
      static_cast<double>(now.generation - before.generation) / interval,
      percent(now.used, now.blocks), percent(now.hits - before.hits, now.queries - before.queries));
}

}  // namespace m2
