// What the hub says of a repository: its files and their hashes, and small files themselves. Tries
// again where the network or the server asks for it (dropped connections, 429, 5xx).
//
// Thread-safety: one thread at a time.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "loader/hub/http.h"

namespace m2 {

struct HubFile {
  std::string name;
  std::string blob;   // its hash; empty where the listing does not tell
  int64_t size = -1;  // -1 likewise
  std::string url;    // that its bytes come from, once known
};

struct HubListing {
  std::string commit;
  std::vector<HubFile> files;  // of the model's own folder, with names that are safe
  std::string licence;         // "modified-mit", and where it is to be read; empty: not told

  const HubFile* find(std::string_view name) const;
};

class HubClient {
 public:
  HubClient(FetchOptions options, std::string repository);

  Result<HubListing> list(const std::string& revision);

  // Asks for a file's metadata and fills what is not known: hash, size, and the URL after the hub's
  // redirect, which may be signed and expire.
  Status look_up(const std::string& commit, HubFile& file);

  // All of a small file, whose hash has been checked. look_up() was made.
  Result<std::string> small_file(const std::string& commit, const HubFile& file, size_t max_bytes);

  FetchClient& http() { return http_; }
  std::string resolve_url(const std::string& commit, const std::string& name) const;
  const FetchOptions& options() const { return options_; }

 private:
  template <typename Ask>
  Result<FetchReply> ask(const std::string& what, int most_tries, const Ask& ask);
  Result<FetchReply> first_ask(const std::string& what, const std::string& url);
  Status rest(std::chrono::milliseconds pause) const;

  FetchOptions options_;
  std::string repository_;
  FetchClient http_;
};

// Whether a status says "later": 408, 429 and 5xx. How long the server wants us to wait, if it
// says.
bool is_transient(long status);
std::chrono::milliseconds retry_after(const FetchReply& reply);

// What a status that ends the download means, with what to do about it.
Error status_error(const FetchReply& reply, const std::string& what, bool with_token);

}  // namespace m2
