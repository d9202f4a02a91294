#include "loader/hub/environment.h"

#include <algorithm>
#include <cstdlib>
#include <initializer_list>

#include "base/file.h"

namespace m2 {
namespace {

constexpr size_t kMaxTokenBytes = 4096;

std::string first_of(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const char* value = std::getenv(name);
    if (value && *value) return value;
  }
  return "";
}

std::string home_of_hub(const HubEnvironment& environment) {
  if (!environment.hf_home.empty()) return expand_home(environment.hf_home, environment.home);
  if (!environment.xdg_cache_home.empty()) {
    return expand_home(environment.xdg_cache_home, environment.home) + "/huggingface";
  }
  return environment.home.empty() ? "" : environment.home + "/.cache/huggingface";
}

std::string trimmed(const std::string& text) {
  constexpr const char* kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin);
}

}  // namespace

HubEnvironment read_hub_environment() {
  return {.hf_hub_cache = first_of({"HF_HUB_CACHE"}),
          .huggingface_hub_cache = first_of({"HUGGINGFACE_HUB_CACHE"}),
          .hf_home = first_of({"HF_HOME"}),
          .xdg_cache_home = first_of({"XDG_CACHE_HOME"}),
          .home = first_of({"HOME"}),
          .endpoint = first_of({"HF_ENDPOINT"}),
          .token = first_of({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}),
          .token_path = first_of({"HF_TOKEN_PATH"}),
          .offline = first_of({"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}),
          .no_implicit = first_of({"HF_HUB_DISABLE_IMPLICIT_TOKEN"}),
          .no_progress = first_of({"HF_HUB_DISABLE_PROGRESS_BARS"}),
          .connect_timeout = first_of({"HF_HUB_ETAG_TIMEOUT"}),
          .download_timeout = first_of({"HF_HUB_DOWNLOAD_TIMEOUT"}),
          .http_proxy = first_of({"http_proxy", "HTTP_PROXY"}),
          .ca_bundle = first_of({"CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"}),
          .modelscope = first_of({"VLLM_USE_MODELSCOPE"})};
}

bool is_set(const std::string& value) {
  std::string lower = value;
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower == "1" || lower == "true" || lower == "yes" || lower == "on";
}

std::string expand_home(const std::string& path, const std::string& home) {
  const bool tilde = path == "~" || path.starts_with("~/");
  return tilde && !home.empty() ? home + path.substr(1) : path;
}

std::string hub_cache_folder(const HubEnvironment& environment) {
  for (const std::string* cache : {&environment.hf_hub_cache, &environment.huggingface_hub_cache}) {
    if (!cache->empty()) return expand_home(*cache, environment.home);
  }
  const std::string home = home_of_hub(environment);
  return home.empty() ? "" : home + "/hub";
}

Result<std::string> hub_endpoint(const HubEnvironment& environment) {
  std::string endpoint = trimmed(environment.endpoint);
  if (endpoint.empty()) return "https://huggingface.co";
  while (endpoint.ends_with('/')) endpoint.pop_back();
  const bool known = endpoint.starts_with("https://") || endpoint.starts_with("http://");
  const bool clean = std::all_of(endpoint.begin(), endpoint.end(), [](char c) {
    return static_cast<unsigned char>(c) > 0x20 && static_cast<unsigned char>(c) < 0x7f;
  });
  if (endpoint.find('@') != endpoint.npos) {  // not shown: what stands before it is a secret
    return invalid("HF_ENDPOINT",
                   "HF_ENDPOINT must be like https://mirror.example, without a name or password");
  }
  if (!known || !clean || endpoint.find_first_of("?#") != endpoint.npos) {
    return invalid("HF_ENDPOINT", "HF_ENDPOINT must be like https://mirror.example, got '{}'",
                   environment.endpoint);
  }
  return endpoint;
}

Result<std::string> hub_token(const HubEnvironment& environment, const std::string& given) {
  std::string token = trimmed(given);
  const bool implicit = !is_set(environment.no_implicit);
  if (token.empty() && implicit) token = trimmed(environment.token);
  if (token.empty() && implicit) {
    std::string path = expand_home(environment.token_path, environment.home);
    const std::string home = home_of_hub(environment);
    if (path.empty() && !home.empty()) path = home + "/token";
    // A file that is not there is the usual case, and one that cannot be read is no reason to fail.
    if (auto text = read_file(path, kMaxTokenBytes); !path.empty() && text) token = trimmed(*text);
  }
  const bool clean = std::all_of(token.begin(), token.end(), [](char c) {
    return static_cast<unsigned char>(c) > 0x20 && static_cast<unsigned char>(c) < 0x7f;
  });
  if (!clean) return invalid("hf-token", "the hub's token holds a space or a control character");
  return token;
}

}  // namespace m2
