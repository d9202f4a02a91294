// A model from the hub into the cache: first what is small and decides (the list of files,
// config.json, tokenizer, index), then the weights.
//
// Thread-safety: one thread; DownloadProgress is read from others.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "json/json.h"
#include "loader/hub/cache_repository.h"
#include "loader/hub/http.h"
#include "loader/hub/hub.h"
#include "loader/hub/hub_client.h"
#include "loader/hub/progress.h"

namespace m2 {

struct DownloadOptions {
  ModelSource source;  // a repository: names_repository()
  std::string cache;   // cache_of(source)
  FetchOptions http;
  json::Object config_overrides;  // as --hf-overrides
  int32_t connections = 8;
};

// From the environment and flags; `token` empty: the environment's.
Result<DownloadOptions> download_options(const ModelSource& source,
                                         const HubEnvironment& environment,
                                         const std::string& token);

class Download {
 public:
  // Lists the files and reads config.json. A model that is not served ends here: nothing else has
  // been fetched, and nothing was written.
  static Result<Download> begin(DownloadOptions options);

  const std::string& folder() const { return folder_; }  // the snapshot
  const std::string& commit() const { return listing_.commit; }
  const std::string& licence() const { return listing_.licence; }

  // Tokenizer, template, sampling defaults, index: all but the shards. Then `folder` can be read.
  Status fetch_small();
  // The shards. Names all that the index wants and the hub has not; looks for disk space first.
  Status fetch_weights(DownloadProgress& progress);

 private:
  Download(DownloadOptions options, HubListing listing);
  Status fetch(HubFile file);
  Result<std::vector<HubFile>> weight_files();
  Status check_space(const std::vector<HubFile>& files) const;

  DownloadOptions options_;
  HubListing listing_;
  CacheRepository cache_;
  std::string folder_;
};

}  // namespace m2
