// What the environment says of the hub and its cache, by the names and the precedence of the
// Hugging Face libraries. The only getenv of the loader.
//
// Thread-safety: plain values and pure functions, but for read_hub_environment().
#pragma once

#include <string>

#include "base/error.h"

namespace m2 {

// Empty where a variable is not set.
struct HubEnvironment {
  std::string hf_hub_cache;           // HF_HUB_CACHE
  std::string huggingface_hub_cache;  // HUGGINGFACE_HUB_CACHE, its older name
  std::string hf_home;                // HF_HOME
  std::string xdg_cache_home;         // XDG_CACHE_HOME
  std::string home;                   // HOME

  std::string endpoint;          // HF_ENDPOINT
  std::string token;             // HF_TOKEN, or HUGGING_FACE_HUB_TOKEN, its older name
  std::string token_path;        // HF_TOKEN_PATH
  std::string offline;           // HF_HUB_OFFLINE, or TRANSFORMERS_OFFLINE
  std::string no_implicit;       // HF_HUB_DISABLE_IMPLICIT_TOKEN
  std::string no_progress;       // HF_HUB_DISABLE_PROGRESS_BARS
  std::string connect_timeout;   // HF_HUB_ETAG_TIMEOUT, seconds
  std::string download_timeout;  // HF_HUB_DOWNLOAD_TIMEOUT, seconds without a byte
  std::string http_proxy;        // HTTP_PROXY; libcurl itself reads the others
  std::string ca_bundle;         // CURL_CA_BUNDLE, REQUESTS_CA_BUNDLE or SSL_CERT_FILE
  std::string modelscope;        // VLLM_USE_MODELSCOPE
};

HubEnvironment read_hub_environment();

// "1", "true", "yes" and "on" in any case.
bool is_set(const std::string& value);

// A leading "~" is the home folder, as in a shell.
std::string expand_home(const std::string& path, const std::string& home);

// The cache folder; empty when nothing says where it is.
std::string hub_cache_folder(const HubEnvironment& environment);

// HF_ENDPOINT without a slash at its end, or the hub itself. Refuses what is no http(s) URL.
Result<std::string> hub_endpoint(const HubEnvironment& environment);

// `given` (a flag's value), else HF_TOKEN, else the file that `hf auth login` writes; empty: none.
// An error where it could not stand in a header.
Result<std::string> hub_token(const HubEnvironment& environment, const std::string& given);

}  // namespace m2
