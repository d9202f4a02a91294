// From what `m2 serve` and `m2 download` were given to a folder: a path, the cache, or the hub.
//
// Thread-safety: one thread.
#pragma once

#include <optional>
#include <string>

#include "base/error.h"
#include "json/json.h"
#include "loader/hub/download.h"

namespace m2::cli {

struct ObtainOptions {
  ModelSource source;
  std::string hf_token;  // empty: the environment's
  json::Object hf_overrides;
  bool weights = true;  // else all but the shards
  bool update = false;  // ask the hub although the cache has all of it
  int32_t connections = 8;
  int32_t most_tries = 8;
};

struct ObtainedModel {
  std::string folder;
  std::optional<Download> download;  // its shards are still to come
};

// A model on disk is taken as it is. Otherwise all but the weights is downloaded; a model that is
// not served ends there.
Result<ObtainedModel> obtain_model(const ObtainOptions& options);

// The rest of it, with a bar on a terminal and a line of the log every ten seconds elsewhere.
Status obtain_weights(ObtainedModel& model, DownloadProgress& progress);

}  // namespace m2::cli
