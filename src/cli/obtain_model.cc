#include "cli/obtain_model.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "base/log.h"
#include "cli/download_reporter.h"

namespace m2::cli {
namespace {

std::string listed(const std::vector<std::string>& names) {
  constexpr size_t kShown = 5;
  std::string out;
  for (size_t i = 0; i < std::min(kShown, names.size()); ++i) out += (i ? ", " : "") + names[i];
  if (names.size() > kShown) out += fmt::format(" and {} more", names.size() - kShown);
  return out;
}

Status refuse_modelscope(const ObtainOptions& options, const HubEnvironment& environment) {
  if (!is_set(environment.modelscope)) return {};
  return fail(ErrorKind::kUnsupported, "VLLM_USE_MODELSCOPE",
              "VLLM_USE_MODELSCOPE is set, but m2 downloads from the Hugging Face Hub or a mirror "
              "of it (HF_ENDPOINT) alone. Either unset it, or run  modelscope download --model {} "
              "--local_dir DIR  and then  m2 serve DIR",
              options.source.model);
}

// What the cache has of it; an empty folder: not all.
Result<std::string> in_cache(const ObtainOptions& options, const HubEnvironment& environment) {
  auto found = find_model(options.source, environment);
  const bool offline = is_set(environment.offline);
  const char* hint = "HF_HUB_OFFLINE is set, so nothing is downloaded";
  if (!found) {
    if (found.error().kind != ErrorKind::kNotFound) return found;
    if (offline) return fail(ErrorKind::kNotFound, "model", "{}; {}", found.error().message, hint);
    return std::string();
  }
  const std::vector<std::string> missing = missing_files(*found, options.weights);
  if (missing.empty()) return found;
  if (offline) {
    return fail(ErrorKind::kNotFound, "model", "{} lacks {}; {}", *found, listed(missing), hint);
  }
  return std::string();
}

// The licence as the hub's page of the model names it; of M2.7 also what it forbids.
void tell_licence(const std::string& model, const std::string& licence) {
  if (!licence.empty()) log_info("{}: licence {}", model, licence);
  const bool forbids = model.find("MiniMax-M2.7") != std::string::npos ||
                       licence.find("non-commercial") != std::string::npos ||
                       licence.find("noncommercial") != std::string::npos;
  if (forbids) {
    log_warning("{}: its licence forbids commercial use without the permission of its authors",
                model);
  }
}

}  // namespace

Result<ObtainedModel> obtain_model(const ObtainOptions& options) {
  const HubEnvironment environment = read_hub_environment();
  const std::string& name = options.source.model;
  ObtainedModel model;
  if (!names_repository(options.source, environment)) {
    M2_ASSIGN(model.folder, find_model(options.source, environment));
    return model;
  }
  M2_TRY(refuse_modelscope(options, environment));
  M2_ASSIGN(model.folder, in_cache(options, environment));
  const bool offline = is_set(environment.offline);
  if (!model.folder.empty() && (!options.update || offline)) {
    tell_licence(name, "");
    return model;
  }
  M2_ASSIGN(DownloadOptions download,
            download_options(options.source, environment, options.hf_token));
  download.config_overrides = options.hf_overrides;
  download.connections = options.connections;
  download.http.most_tries = options.most_tries;
  log_info("{} (revision {}) from {} into {}", name, options.source.revision,
           download.http.endpoint, download.cache);
  auto begun = Download::begin(std::move(download));
  // A hub that is out of reach is no reason to be without what is there.
  if (!begun && !model.folder.empty() && begun.error().kind == ErrorKind::kUnavailable) {
    log_warning("{}: taking {}, which is whole, without asking whether there is a newer one",
                begun.error().message, model.folder);
    tell_licence(name, "");
    return model;
  }
  const bool main = options.source.revision == "main";
  if (!begun && begun.error().kind == ErrorKind::kNotFound && main) {
    begun.error().message += "; nor is there a folder " + name;  // most often a mistyped path
  }
  M2_ASSIGN(model.download, std::move(begun));
  tell_licence(name, model.download->licence());
  M2_TRY(model.download->fetch_small());
  model.folder = model.download->folder();
  if (!options.weights) model.download.reset();
  return model;
}

Status obtain_weights(ObtainedModel& model, DownloadProgress& progress) {
  if (!model.download) return {};
  const auto start = std::chrono::steady_clock::now();
  {
    const DownloadReporter reporter(progress, !is_set(read_hub_environment().no_progress));
    M2_TRY(model.download->fetch_weights(progress));
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  if (progress.fetched_bytes > 0) {
    const double bytes = static_cast<double>(progress.fetched_bytes);
    log_info("downloaded {:.1f} MB in {:.1f} s, {:.1f} MB/s; every file's hash is right",
             bytes / 1e6, took.count(), bytes / 1e6 / std::max(took.count(), 1e-3));
  }
  model.download.reset();
  return {};
}

}  // namespace m2::cli
