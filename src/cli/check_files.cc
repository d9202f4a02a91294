#include "cli/check_files.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <mutex>
#include <thread>
#include <vector>

#include "backend/cpu/host.h"
#include "loader/checkpoint.h"
#include "loader/checkpoint_index.h"
#include "loader/hub/digest.h"
#include "loader/hub/known_hash.h"
#include "loader/scale_check.h"

namespace m2::cli {
namespace {

// SHA-256 of the published files. Of a name with several, each is one member's.
struct Published {
  std::string_view file, sha256, of;
};
constexpr Published kPublished[] = {
    {"tokenizer.json", "757622126525aeeb131756849d93298070ff3f0319c455ec8c5bb0f6b1cebbe8",
     "MiniMax-M2, M2.1, M2.5 and M2.7"},
    {"chat_template.jinja", "6197838b2be771351d457d9f715ff8e0c0861b7c2d1b1d6ce2acab25ced9d530",
     "MiniMax-M2"},
    {"chat_template.jinja", "aa964556a0a30d039273a3e06d0d9cb14e25edba1f78ccba84cbf7ee4ce2dac4",
     "MiniMax-M2.1"},
    {"chat_template.jinja", "f83cec52bb3a7e5a3cb4d6fd1dfdd6f4fe13b06c5aaa39a1115e70a417fc75f5",
     "MiniMax-M2.5"},
    {"chat_template.jinja", "893d908f7b5cc65fdde270dcae5ea1a99647c6a7ce572ae874a57b7160069566",
     "MiniMax-M2.7"}};

std::vector<std::string> files_of(const std::string& folder) {
  std::vector<std::string> names = {"config.json",         "generation_config.json",
                                    "tokenizer.json",      "tokenizer_config.json",
                                    "chat_template.jinja", "model.safetensors.index.json"};
  if (const auto index = read_checkpoint_index(folder)) {
    names.insert(names.end(), index->files.begin(), index->files.end());
  }
  return names;
}

}  // namespace

void check_headers(const std::string& folder, const ModelConfig& config, Findings& findings) {
  const auto checkpoint = Checkpoint::open(folder, config);
  if (!checkpoint) return findings.wrong("headers", checkpoint.error().message);
  findings.right("headers", fmt::format("{} tensors in {} files, {:.1f} GB",
                                        checkpoint->num_tensors(), checkpoint->num_files(),
                                        static_cast<double>(checkpoint->bytes()) / 1e9));
}

bool check_hashes(const std::string& folder, Findings& findings) {
  struct Wanted {
    std::string name, hash;
  };
  std::vector<Wanted> files;
  for (const std::string& name : files_of(folder)) {
    if (std::string hash = known_hash(folder, name); !hash.empty()) files.push_back({name, hash});
  }
  if (files.empty()) {
    findings.note("hashes", "not known: the folder did not come from the hub's cache");
    return false;
  }
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  int wrong = 0;
  const auto work = [&] {
    for (size_t i = next++; i < files.size(); i = next++) {
      const auto hash = digest_file(folder + "/" + files[i].name, files[i].hash);
      std::lock_guard lock(mutex);
      if (hash && *hash == files[i].hash) continue;
      ++wrong;
      if (!hash) {
        findings.wrong("hashes", hash.error().message);
        continue;
      }
      // Links lead to the cache's own copy, which no download replaces while its size is right.
      std::error_code error;
      const auto path = std::filesystem::canonical(folder + "/" + files[i].name, error);
      findings.wrong("hashes", fmt::format("{}: hash {}, must be {}; remove {} and download again",
                                           files[i].name, *hash, files[i].hash, path.string()));
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (int i = 1; i < std::min(usable_cores(), 16); ++i) helpers.emplace_back(work);
    work();
  }
  if (wrong == 0) {
    findings.right("hashes", fmt::format("{} files as the hub has them", files.size()));
  }
  return true;
}

void check_published(const std::string& folder, std::string_view file, Findings& findings) {
  const auto hash = digest_file(folder + "/" + std::string(file), std::string(64, '0'));
  if (!hash) return;
  for (const Published& known : kPublished) {
    if (known.file != file || known.sha256 != *hash) continue;
    return findings.right("published", fmt::format("{} is that of {}", file, known.of));
  }
  findings.note("published", fmt::format("{} is none of the published ones", file));
}

void check_block_scales(const std::string& folder, Findings& findings) {
  const auto checked = check_scales(folder, std::min(usable_cores(), 16));
  if (!checked) return findings.wrong("scales", checked.error().message);
  const std::vector<std::string>& broken = checked->broken;
  constexpr size_t kShown = 20;
  for (size_t i = 0; i < std::min(kShown, broken.size()); ++i) findings.wrong("scales", broken[i]);
  if (broken.size() > kShown) {
    findings.wrong("scales", fmt::format("and {} matrices more", broken.size() - kShown));
  }
  if (!checked->odd.empty()) {
    const ScaleCheck::Odd& worst = checked->odd.front();
    findings.note("scales", fmt::format("{} of {} matrices have blocks that do not fit the others, "
                                        "as if scales had been changed; most of all {}, row {}, by "
                                        "a factor of {:.1f}",
                                        checked->odd.size(), checked->tensors, worst.tensor,
                                        worst.row, worst.factor));
  } else if (checked->tensors > 0 && checked->broken.empty()) {
    findings.right("scales", fmt::format("those of {} blocks of {} matrices fit their blocks",
                                         checked->blocks, checked->tensors));
  }
}

}  // namespace m2::cli
