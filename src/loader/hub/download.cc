#include "loader/hub/download.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <thread>
#include <utility>

#include "base/log.h"
#include "loader/checkpoint_index.h"
#include "loader/hub/blob_fetcher.h"
#include "model/config.h"

namespace m2 {
namespace {

constexpr const char* kConfig = "config.json";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kOneFile = "model.safetensors";
// What a model needs beside its weights; those that a repository has not, it does without.
constexpr const char* kSmallFiles[] = {"generation_config.json", "tokenizer.json",
                                       "tokenizer_config.json", "chat_template.jinja", kIndex};
constexpr size_t kMaxSmallBytes = size_t{64} << 20;
constexpr int64_t kMostFileBytes = int64_t{1} << 40;
constexpr int64_t kSpareBytes = int64_t{64} << 20;  // left on the disk

std::string amount(int64_t bytes) {
  return bytes >= 1'000'000'000 ? fmt::format("{:.1f} GB", static_cast<double>(bytes) / 1e9)
                                : fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

// Bytes on disk; sparse parts do not count.
int64_t disk_bytes(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? int64_t{status.st_blocks} * 512 : 0;
}

Status read_seconds(const char* name, const std::string& text, int32_t& out) {
  if (text.empty()) return {};
  double seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc{} || end != text.data() + text.size() || !(seconds > 0) ||
      seconds > 86400) {
    return invalid(name, "{} must be a number of seconds up to 86400, got '{}'", name, text);
  }
  out = std::max(1, static_cast<int32_t>(seconds));
  return {};
}

}  // namespace

Result<DownloadOptions> download_options(const ModelSource& source,
                                         const HubEnvironment& environment,
                                         const std::string& token) {
  DownloadOptions options;
  options.source = source;
  M2_ASSIGN(options.cache, cache_of(source, environment));
  M2_ASSIGN(options.http.endpoint, hub_endpoint(environment));
  M2_ASSIGN(options.http.token, hub_token(environment, token));
  M2_TRY(read_seconds("HF_HUB_ETAG_TIMEOUT", environment.connect_timeout,
                      options.http.connect_timeout_s));
  M2_TRY(read_seconds("HF_HUB_DOWNLOAD_TIMEOUT", environment.download_timeout,
                      options.http.stall_timeout_s));
  options.http.http_proxy = environment.http_proxy;
  options.http.ca_bundle = environment.ca_bundle;
  return options;
}

Download::Download(DownloadOptions options, HubListing listing)
    : options_(std::move(options)),
      listing_(std::move(listing)),
      cache_(options_.cache, options_.source.model),
      folder_(cache_.snapshot(listing_.commit)) {}

Result<Download> Download::begin(DownloadOptions options) {
  HubClient client(options.http, options.source.model);
  M2_ASSIGN(HubListing listing, client.list(options.source.revision));
  Download download(std::move(options), std::move(listing));
  const HubFile* listed = download.listing_.find(kConfig);
  if (!listed) {
    return fail(ErrorKind::kNotFound, "model", "{} on the hub has no config.json: it is no model",
                download.options_.source.model);
  }
  HubFile file = *listed;
  M2_TRY(client.look_up(download.commit(), file));
  M2_ASSIGN(const std::string text, client.small_file(download.commit(), file, kMaxSmallBytes));
  auto config = parse_config_text(text, download.options_.config_overrides);
  if (!config) {
    Error error = std::move(config.error());
    error.message = download.options_.source.model + ": " + error.message;
    return tl::unexpected(std::move(error));
  }
  M2_TRY(download.cache_.prepare(download.commit()));
  M2_TRY(download.cache_.write_ref(download.options_.source.revision, download.commit()));
  if (!download.cache_.has_blob(file.blob, static_cast<int64_t>(text.size()))) {
    M2_TRY(download.cache_.write_blob(file.blob, text));
  }
  M2_TRY(download.cache_.link(download.commit(), kConfig, file.blob));
  return download;
}

Status Download::fetch_small() {
  for (const char* name : kSmallFiles) {
    if (const HubFile* file = listing_.find(name)) M2_TRY(fetch(*file));
  }
  if (listing_.find("tokenizer.json")) return {};
  return fail(ErrorKind::kNotFound, "model", "{} on the hub has no tokenizer.json",
              options_.source.model);
}

// One small file, unless it is there.
Status Download::fetch(HubFile file) {
  const std::string linked = cache_.linked_blob(commit(), file.name);
  const bool there = !file.blob.empty() && cache_.has_blob(file.blob, file.size);
  if (there && linked == file.blob) return {};
  HubClient client(options_.http, options_.source.model);
  if (!there) M2_TRY(client.look_up(commit(), file));
  BlobLock lock;
  const auto taken = [&] {
    return lock.try_lock(cache_.lock_path(file.blob)) != BlobLock::State::kBusy;
  };
  while (!cache_.has_blob(file.blob, file.size) && !taken()) {
    if (options_.http.cancelled && *options_.http.cancelled) {
      return fail(ErrorKind::kInternal, "", "stopped");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  if (!cache_.has_blob(file.blob, file.size)) {
    M2_ASSIGN(const std::string bytes, client.small_file(commit(), file, kMaxSmallBytes));
    M2_TRY(cache_.write_blob(file.blob, bytes));
  }
  return cache_.link(commit(), file.name, file.blob);
}

// The shards, by the index, which was fetched before.
Result<std::vector<HubFile>> Download::weight_files() {
  std::vector<std::string> names;
  if (listing_.find(kIndex)) {
    M2_ASSIGN(CheckpointIndex index, read_checkpoint_index(folder_));
    names = std::move(index.files);
  } else {
    names.push_back(kOneFile);
  }
  std::vector<HubFile> files;
  std::string absent;
  for (const std::string& name : names) {
    const HubFile* file = listing_.find(name);
    if (file) files.push_back(*file);
    if (!file) absent += (absent.empty() ? "" : ", ") + name;
  }
  if (!absent.empty()) {
    return fail(ErrorKind::kNotFound, "model", "{} on the hub lacks weight files: {}",
                options_.source.model, absent.substr(0, 1000));
  }
  HubClient client(options_.http, options_.source.model);
  for (HubFile& file : files) {
    if (file.blob.empty() || file.size < 0) M2_TRY(client.look_up(commit(), file));
    if (file.size < 1 || file.size > kMostFileBytes) {
      return fail(ErrorKind::kUnavailable, "HF_ENDPOINT", "{}/{}: {} tells no size of it, or {}",
                  options_.source.model, file.name, options_.http.endpoint, file.size);
    }
  }
  return files;
}

Status Download::check_space(const std::vector<HubFile>& files) const {
  const int64_t free = cache_.free_bytes();
  int64_t needed = 0;
  for (const HubFile& file : files) {
    const std::string blob = cache_.blob(file.blob);
    const int64_t there = disk_bytes(blob + ".m2.incomplete") + disk_bytes(blob + ".incomplete");
    int64_t sum = 0;  // a size may be anything that a server says
    if (__builtin_add_overflow(needed, std::max<int64_t>(0, file.size - there), &sum)) {
      sum = INT64_MAX - kSpareBytes;
    }
    needed = std::min(sum, INT64_MAX - kSpareBytes);
  }
  if (free < 0 || needed == 0 || needed + kSpareBytes <= free) return {};
  return fail(ErrorKind::kUnavailable, "download-dir",
              "{} needs {} more on disk, and {} to spare, but {} has {} free: make room, or choose "
              "another place with --download-dir or HF_HOME",
              options_.source.model, amount(needed), amount(kSpareBytes), options_.cache,
              amount(free));
}

Status Download::fetch_weights(DownloadProgress& progress) {
  M2_ASSIGN(const std::vector<HubFile> files, weight_files());
  std::vector<HubFile> absent;
  progress.files = static_cast<int32_t>(files.size());
  for (const HubFile& file : files) {
    progress.total_bytes += file.size;
    if (cache_.has_blob(file.blob, file.size)) {
      M2_TRY(cache_.link(commit(), file.name, file.blob));
      progress.there_bytes += file.size;
      ++progress.files_there;
    } else {
      absent.push_back(file);
    }
  }
  if (absent.empty()) return {};
  M2_TRY(check_space(absent));
  FetchOptions http = options_.http;
  http.cancelled = &progress.cancelled;
  BlobFetcher fetcher(http, options_.source.model, commit(), cache_, std::move(absent),
                      options_.connections, progress);
  return fetcher.run();
}

}  // namespace m2
