// The environment variables that the command line reads: the one place, besides the loader's hub
// look-up, where getenv stands.
#pragma once

#include <string>
#include <vector>

namespace m2::cli {

struct Environment {
  std::vector<std::string> api_keys;  // M2_API_KEY and VLLM_API_KEY, where set and not empty
  std::string stats_interval;         // VLLM_LOG_STATS_INTERVAL: seconds between statistics lines
  std::vector<std::string> ignored;   // VLLM_* variables that m2 does not read
};

Environment read_environment();

// Of `entries` ("NAME=value"), the part that read_environment() takes from the process.
Environment parse_environment(const std::vector<std::string>& entries);

}  // namespace m2::cli
