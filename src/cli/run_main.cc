// Chooses the command.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

#include "cli/client_options.h"
#include "cli/commands.h"
#include "cli/nearest.h"
#include "cli/serve_flags.h"
#include "cli/version.h"

namespace m2::cli {
namespace {

struct Entry {
  std::string_view name;
  int (*run)(Arguments);
  std::string_view summary;
};

constexpr Entry kCommands[] = {
    {"serve", run_serve, "serve a model over HTTP:  m2 serve MODEL [flags]"},
    {"chat", run_chat, "talk with a running server"},
    {"complete", run_complete, "let a running server continue text"},
    {"bench", run_bench, "time decode and prefill on this machine"},
    {"download", run_download, "bring a model into the Hugging Face cache"},
    {"check", run_check, "tell whether a model on disk is whole and right"},
    {"plan", run_plan, "tell what a model takes of GPUs and leaves for the context"},
    {"collect-env", run_collect_env, "tell what a bug report needs to know of this machine"},
};

void print_help() {
  fmt::print("m2 serves the MiniMax-M2 family of models.\n\nCommands:\n");
  for (const Entry& entry : kCommands) fmt::print("  {:14}{}\n", entry.name, entry.summary);
  fmt::print(
      "\nm2 COMMAND --help tells its flags; m2 serve --help=TOPIC narrows them to a heading or a "
      "flag,\n--help=all shows every flag of vLLM that is taken. m2 --version tells the "
      "version.\n");
}

// CUDA reads these at its first use: all kernels are loaded at the start, not at their first
// launch, and ranks that share a GPU do not wait for each other's queues. Set before any thread
// is there that could read the environment.
void set_cuda_environment() {
  setenv("CUDA_MODULE_LOADING", "EAGER", 0);
  setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 0);
}

}  // namespace

int run_main(Arguments arguments) {
  set_cuda_environment();
  if (arguments.empty()) {
    print_help();
    return kExitUsage;
  }
  const std::string& first = arguments[0];
  if (first == "--help" || first == "-h" || first == "help") {
    print_help();
    return kExitOk;
  }
  if (first == "--version" || first == "-v" || first == "version") {
    fmt::print("{}\n", version_line());
    return kExitOk;
  }
  std::string name = first;
  if (name == "collect_env") name = "collect-env";
  std::vector<std::string_view> names;
  for (const Entry& entry : kCommands) {
    if (entry.name == name) return entry.run(arguments.subspan(1));
    names.push_back(entry.name);
  }
  const std::string_view near = nearest(name, names);
  if (near.empty()) {
    fmt::print(stderr, "m2: no command '{}'; m2 --help lists them\n", first);
  } else {
    fmt::print(stderr, "m2: no command '{}'; did you mean m2 {}?\n", first, near);
  }
  return kExitUsage;
}

}  // namespace m2::cli
