#include "cli/environment.h"

#include <string_view>

extern char** environ;  // NOLINT: POSIX's own name

namespace m2::cli {

Environment parse_environment(const std::vector<std::string>& entries) {
  Environment out;
  for (const std::string_view entry : entries) {
    const std::string_view name = entry.substr(0, entry.find('='));
    const std::string_view value = name.size() < entry.size() ? entry.substr(name.size() + 1) : "";
    if (name == "M2_API_KEY" || name == "VLLM_API_KEY") {
      if (!value.empty()) out.api_keys.emplace_back(value);
    } else if (name == "VLLM_LOG_STATS_INTERVAL") {
      out.stats_interval = value;
    } else if (name == "VLLM_USE_MODELSCOPE") {
      // The hub's look-up reads it: a model that would come from there is refused with advice.
    } else if (name.starts_with("VLLM_")) {
      out.ignored.emplace_back(name);
    }
    // SAFETENSORS_FAST_GPU, which the deployment guide sets, asks for what m2 does anyway.
  }
  return out;
}

Environment read_environment() {
  std::vector<std::string> entries;
  for (char** entry = environ; entry && *entry; ++entry) entries.emplace_back(*entry);
  return parse_environment(entries);
}

}  // namespace m2::cli
