#include "loader/hub/hub.h"

#include <filesystem>
#include <string_view>

#include "base/file.h"
#include "loader/checkpoint_index.h"
#include "loader/hub/names.h"

namespace m2 {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxPathBytes = 4096;

bool is_folder(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

// The commit that a branch or tag stood at when it was downloaded; empty when there is no such ref.
// Anybody may have written the file: only what looks like a commit becomes a path.
std::string read_ref(const std::string& path) {
  constexpr size_t kMostBytes = 4096;
  const auto text = read_file(path, kMostBytes);
  std::string_view commit = text ? std::string_view(*text) : "";
  while (!commit.empty() && (commit.back() == '\n' || commit.back() == ' ')) {
    commit.remove_suffix(1);
  }
  return std::string(commit);
}

// Both parts of the id and the revision are checked by now: no path below leads out of `cache`.
Result<std::string> find_in_cache(const ModelSource& source, const std::string& cache) {
  std::string name = "models--" + source.model;
  name.replace(name.find('/'), 1, "--");
  const std::string repository = cache + "/" + name;
  if (std::error_code error; !fs::is_directory(repository, error)) {
    if (error == std::errc::permission_denied) {
      return invalid("model", "{}: {} cannot be read: {}", source.model, repository,
                     error.message());
    }
    return fail(ErrorKind::kNotFound, "model",
                "{} is neither a folder nor in the cache: looked for {}. m2 download {} brings it "
                "there; a folder is served by its path",
                source.model, repository, source.model);
  }
  std::string commit = source.revision;
  if (!is_commit(commit)) {
    const std::string ref = repository + "/refs/" + source.revision;
    commit = read_ref(ref);
    if (commit.empty()) {
      return fail(ErrorKind::kNotFound, "revision",
                  "revision {} of {} is not in the cache: looked for {}", source.revision,
                  source.model, ref);
    }
    if (!is_commit(commit)) return invalid("revision", "{} does not hold a commit", ref);
  }
  const std::string snapshot = repository + "/snapshots/" + commit;
  // A download that broke off may have left the folder alone.
  std::error_code error;
  if (!fs::exists(snapshot + "/config.json", error)) {
    return fail(ErrorKind::kNotFound, "model",
                "{} (revision {}) is not complete in the cache: looked for {}/config.json",
                source.model, source.revision, snapshot);
  }
  return snapshot;
}

}  // namespace

Result<std::string> find_model(const ModelSource& source, const HubEnvironment& environment) {
  if (source.model.empty() || source.model.size() > kMaxPathBytes ||
      source.model.find('\0') != std::string::npos) {
    return invalid("model", "the model must be a path or org/name of 1 to {} bytes", kMaxPathBytes);
  }
  const std::string path = expand_home(source.model, environment.home);
  if (is_folder(path)) return path;
  std::error_code error;
  if (fs::exists(path, error)) {
    return invalid("model", "{} is a file: give the folder that holds config.json", path);
  }
  // Not malformed: most often a mistyped path, so the message is that nothing was found.
  if (!is_repository_id(source.model)) {
    return fail(ErrorKind::kNotFound, "model",
                "{} is not a folder, and no repository is named so (org/name)", source.model);
  }
  if (!is_revision(source.revision)) {
    return invalid("revision", "revision \"{}\" is no branch, tag or commit", source.revision);
  }
  M2_ASSIGN(const std::string cache, cache_of(source, environment));
  return find_in_cache(source, cache);
}

Result<std::string> cache_of(const ModelSource& source, const HubEnvironment& environment) {
  const std::string cache = source.download_dir.empty()
                                ? hub_cache_folder(environment)
                                : expand_home(source.download_dir, environment.home);
  if (cache.empty()) {
    return fail(ErrorKind::kNotFound, "model",
                "{} is not a folder, and neither HOME nor HF_HOME says where the cache is",
                source.model);
  }
  return cache;
}

bool names_repository(const ModelSource& source, const HubEnvironment& environment) {
  std::error_code error;
  return is_repository_id(source.model) && is_revision(source.revision) &&
         !fs::exists(expand_home(source.model, environment.home), error);
}

std::vector<std::string> missing_files(const std::string& folder, bool weights) {
  std::vector<std::string> missing;
  const auto need = [&](const std::string& name) {
    std::error_code error;  // a link to a blob that is gone counts as absent
    if (!fs::exists(folder + "/" + name, error)) missing.push_back(name);
  };
  need("config.json");
  need("tokenizer.json");
  if (!weights) return missing;
  const auto index = read_checkpoint_index(folder);
  if (!index) {
    missing.push_back("model.safetensors.index.json");
    return missing;
  }
  for (const std::string& name : index->files) need(name);
  return missing;
}

}  // namespace m2
