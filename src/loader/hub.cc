#include "loader/hub.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>

namespace m2 {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxNamePartBytes = 96;
constexpr size_t kMaxRevisionBytes = 256;
constexpr size_t kMaxPathBytes = 4096;

std::string environment_value(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// A leading "~" is the home folder, as in a shell.
std::string expand_home(const std::string& path, const std::string& home) {
  const bool tilde = path == "~" || path.starts_with("~/");
  return tilde && !home.empty() ? home + path.substr(1) : path;
}

bool is_name_byte(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' ||
         c == '-' || c == '_';
}

// One part of org/name. The hub's own rules; "--" would collide with the cache's folder names.
bool is_name_part(std::string_view part) {
  if (part.empty() || part.size() > kMaxNamePartBytes) return false;
  if (part.find("--") != part.npos || part.find("..") != part.npos) return false;
  for (const char end : {part.front(), part.back()}) {
    if (end == '.' || end == '-') return false;
  }
  return std::all_of(part.begin(), part.end(), is_name_byte);
}

bool is_repository_id(std::string_view id) {
  const size_t slash = id.find('/');
  return slash != id.npos && is_name_part(id.substr(0, slash)) &&
         is_name_part(id.substr(slash + 1));
}

// A revision becomes a path under refs/: it may hold slashes ("refs/pr/1"), but never leads out.
bool is_revision(std::string_view revision) {
  if (revision.empty() || revision.size() > kMaxRevisionBytes) return false;
  for (size_t begin = 0; begin <= revision.size();) {
    const size_t end = std::min(revision.find('/', begin), revision.size());
    const std::string_view part = revision.substr(begin, end - begin);
    if (part.empty() || part.front() == '.') return false;
    if (!std::all_of(part.begin(), part.end(), is_name_byte)) return false;
    begin = end + 1;
  }
  return true;
}

// Refs are files that anybody may have written: only what looks like a commit becomes a path.
bool is_commit(std::string_view text) {
  return text.size() == 40 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

bool is_folder(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

// The commit that a branch or tag stood at when it was downloaded; empty when there is no such ref.
std::string read_ref(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char text[64];
  file.read(text, sizeof text);
  std::string_view commit(text, static_cast<size_t>(file.gcount()));
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
  if (!is_folder(repository)) {
    return fail(ErrorKind::kNotFound, "model",
                "{} is neither a folder nor in the cache: looked for {}. Download it there, or "
                "give the path of a folder",
                source.model, repository);
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

HubEnvironment read_hub_environment() {
  return {.hf_hub_cache = environment_value("HF_HUB_CACHE"),
          .huggingface_hub_cache = environment_value("HUGGINGFACE_HUB_CACHE"),
          .hf_home = environment_value("HF_HOME"),
          .xdg_cache_home = environment_value("XDG_CACHE_HOME"),
          .home = environment_value("HOME")};
}

std::string hub_cache_folder(const HubEnvironment& environment) {
  const auto expanded = [&](const std::string& path) {
    return expand_home(path, environment.home);
  };
  if (!environment.hf_hub_cache.empty()) return expanded(environment.hf_hub_cache);
  if (!environment.huggingface_hub_cache.empty()) {
    return expanded(environment.huggingface_hub_cache);
  }
  if (!environment.hf_home.empty()) return expanded(environment.hf_home) + "/hub";
  if (!environment.xdg_cache_home.empty()) {
    return expanded(environment.xdg_cache_home) + "/huggingface/hub";
  }
  return environment.home.empty() ? "" : environment.home + "/.cache/huggingface/hub";
}

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
  const std::string cache = source.download_dir.empty()
                                ? hub_cache_folder(environment)
                                : expand_home(source.download_dir, environment.home);
  if (cache.empty()) {
    return fail(ErrorKind::kNotFound, "model",
                "{} is not a folder, and neither HOME nor HF_HOME says where the cache is",
                source.model);
  }
  return find_in_cache(source, cache);
}

}  // namespace m2
