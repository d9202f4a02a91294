// Finds a model on disk: a folder by its path, or a repository id ("org/name") in the Hugging Face
// cache, whose layout is models--ORG--NAME/{refs/<revision>, snapshots/<commit>}. Nothing is
// downloaded here (loader/hub/download.h does that).
//
// Thread-safety: pure functions of their arguments and the disk.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "loader/hub/environment.h"

namespace m2 {

struct ModelSource {
  std::string model;              // a folder, or org/name
  std::string revision = "main";  // branch, tag or commit
  std::string download_dir{};     // in the place of the cache folder; empty: none
};

// The folder that holds the model's files. A folder of that path wins over a repository. kNotFound
// names every place that was looked at.
Result<std::string> find_model(const ModelSource& source, const HubEnvironment& environment);

// The cache folder that a source is looked for in; an error when nothing says where it is.
Result<std::string> cache_of(const ModelSource& source, const HubEnvironment& environment);

// Whether the source can only be a repository: no folder or file of that path is there, and the
// name is one of the hub's.
bool names_repository(const ModelSource& source, const HubEnvironment& environment);

// The files that a folder lacks to be served, by their names: a download that broke off leaves a
// snapshot of some of them. Empty: complete. Without `weights` shards are not looked for.
std::vector<std::string> missing_files(const std::string& folder, bool weights);

}  // namespace m2
