// Finds a model on disk: a folder by its path, or a repository id ("org/name") in the Hugging Face
// cache, whose layout is models--ORG--NAME/{refs/<revision>, snapshots/<commit>}. Nothing is
// downloaded here.
//
// Thread-safety: pure functions of their arguments and the disk.
#pragma once

#include <string>

#include "base/error.h"

namespace m2 {

// The environment variables that say where the cache lies; empty where unset.
struct HubEnvironment {
  std::string hf_hub_cache;           // HF_HUB_CACHE
  std::string huggingface_hub_cache;  // HUGGINGFACE_HUB_CACHE, its older name
  std::string hf_home;                // HF_HOME
  std::string xdg_cache_home;         // XDG_CACHE_HOME
  std::string home;                   // HOME
};

// The only getenv of this folder.
HubEnvironment read_hub_environment();

// The cache folder, by the same precedence as the Hugging Face libraries; empty when nothing says.
std::string hub_cache_folder(const HubEnvironment& environment);

struct ModelSource {
  std::string model;              // a folder, or org/name
  std::string revision = "main";  // branch, tag or commit
  std::string download_dir{};     // in the place of the cache folder; empty: none
};

// The folder that holds the model's files. A folder of that path wins over a repository. kNotFound
// names every place that was looked at.
Result<std::string> find_model(const ModelSource& source, const HubEnvironment& environment);

}  // namespace m2
