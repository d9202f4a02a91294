// `m2 download`: a model from the hub into the cache, without serving it.
#include <fmt/format.h>

#include <cstdio>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/flag_reader.h"
#include "cli/help.h"
#include "cli/obtain_model.h"
#include "cli/parse_flags.h"

namespace m2::cli {
namespace {

constexpr Alias kAliases[] = {{"cache-dir", "download-dir"}};

const Command& download_command() {
  static const Command command = [] {
    const auto used = [](std::string_view name, FlagKind kind, std::string_view help) {
      return Flag{name, kind, FlagEffect::kUsed, "Flags", help};
    };
    return Command{
        "download",
        "m2 download ORG/NAME [flags]",
        "bring a model into the Hugging Face cache, and print its folder",
        {used("revision", FlagKind::kText, "branch, tag or commit (main)"),
         used("download-dir", FlagKind::kText, "cache, if not the usual one (HF_HOME)"),
         used("hf-token", FlagKind::kText, "token of the hub (HF_TOKEN)"),
         used("connections", FlagKind::kInt, "downloads at once (8)"),
         used("tries", FlagKind::kInt, "tries in a row without a byte before it is given up (8)"),
         used("no-weights", FlagKind::kSwitch, "all but the weights"),
         used("log-level", FlagKind::kText, "debug, info, warning or error (info)")},
        kAliases,
        1};
  }();
  return command;
}

Result<ObtainOptions> read_options(const ParsedFlags& flags) {
  ObtainOptions out;
  if (flags.positionals.empty()) {
    return invalid("model", "which model? m2 download ORG/NAME");
  }
  out.source.model = flags.positionals[0];
  out.update = true;
  FlagReader reader(flags);
  reader.text("revision", out.source.revision);
  reader.text("download-dir", out.source.download_dir);
  reader.text("hf-token", out.hf_token);
  reader.integer("connections", out.connections, 1, 64);
  reader.integer("tries", out.most_tries, 1, 1000);
  bool no_weights = false;
  reader.flag("no-weights", no_weights);
  out.weights = !no_weights;
  constexpr LogLevel kLevels[] = {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning,
                                  LogLevel::kError};
  const int level = reader.choice("log-level", {"debug", "info", "warning", "error"});
  if (level >= 0) set_log_level(kLevels[level]);
  M2_TRY(reader.status());
  return out;
}

}  // namespace

int run_download(Arguments arguments) {
  const auto report = [](const Error& error, int status) {
    fmt::print(stderr, "m2 download: {}\n", error.message);
    return status;
  };
  const auto flags = parse_flags(download_command(), arguments);
  if (!flags) return report(flags.error(), kExitUsage);
  if (flags->help) return print_help(download_command(), flags->help_topic);
  const auto options = read_options(*flags);
  if (!options) return report(options.error(), kExitUsage);
  auto model = obtain_model(*options);
  if (!model) return report(model.error(), kExitFailure);
  DownloadProgress progress;
  if (const Status got = obtain_weights(*model, progress); !got) {
    return report(got.error(), kExitFailure);
  }
  fmt::print("{}\n", model->folder);
  return kExitOk;
}

}  // namespace m2::cli
