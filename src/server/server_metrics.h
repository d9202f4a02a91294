// The server's numbers, under the names that vLLM's dashboards and autoscalers know, and the line
// that the log gets while there is work.
//
// Thread-safety: all methods from any thread once the engines are known.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "engine/engine.h"

namespace m2 {

class ServerMetrics {
 public:
  explicit ServerMetrics(std::string model_name);
  ~ServerMetrics();

  void set_engines(std::vector<const Engine*> engines);  // once, before requests

  // Of one choice's life.
  struct ChoiceTimes {
    std::chrono::steady_clock::time_point arrival, first_token, last_token, end;
    int32_t prompt_tokens = 0, completion_tokens = 0;
    bool first_choice = false;  // of its prompt: what counts once a prompt counts with it
  };
  // `engine`: the index of the replica, the label of what is counted.
  void first_token(int32_t engine, double seconds_since_arrival);
  void next_tokens(int32_t engine, double seconds_since_last, int32_t tokens);
  void choice_ended(int32_t engine, FinishReason reason, const ChoiceTimes& times);
  void request_started(int32_t engine, int32_t n, int32_t max_tokens);

  std::string render();

  // One line when something ran since the last call, else "".
  std::string stats_line();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace m2
