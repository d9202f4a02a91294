// `m2 collect-env`: what a bug report needs to know of the machine. No keys, no names, no paths.
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>

#include "backend/backend.h"
#include "backend/cpu/host.h"
#include "cli/commands.h"
#include "cli/environment.h"
#include "cli/version.h"

namespace m2::cli {
namespace {

// The value of the first line of `path` that starts with `key`; "unknown" when there is none.
std::string field_of(const char* path, std::string_view key, char separator) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const size_t split = line.find(separator);
    if (!std::string_view(line).starts_with(key) || split == std::string::npos) continue;
    std::string value = line.substr(split + 1);
    value.erase(0, value.find_first_not_of(" \t\""));
    value.erase(value.find_last_not_of(" \t\"") + 1);
    return value;
  }
  return "unknown";
}

// The vector extensions that our kernels choose by.
std::string vector_extensions() {
  const std::string flags = fmt::format(" {} ", field_of("/proc/cpuinfo", "flags", ':'));
  std::string out;
  for (const std::string_view name : {"avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16"}) {
    if (flags.find(fmt::format(" {} ", name)) == std::string::npos) continue;
    if (!out.empty()) out += ' ';
    out += name;
  }
  return out.empty() ? "none that m2 knows" : out;
}

}  // namespace

int run_collect_env(Arguments) {
  utsname system{};
  uname(&system);
  fmt::print("{}\n", version_line());
  fmt::print("system: {}, {} {} {}\n", field_of("/etc/os-release", "PRETTY_NAME", '='),
             system.sysname, system.release, system.machine);
  fmt::print("processor: {}, {} threads of which {} may be used, {}\n",
             field_of("/proc/cpuinfo", "model name", ':'), std::thread::hardware_concurrency(),
             usable_cores(), vector_extensions());
  fmt::print("memory: {} in all, {} available\n", field_of("/proc/meminfo", "MemTotal", ':'),
             field_of("/proc/meminfo", "MemAvailable", ':'));
  fmt::print("NVIDIA driver: {}\n", access("/proc/driver/nvidia/version", R_OK) == 0
                                        ? field_of("/proc/driver/nvidia/version", "NVRM", ':')
                                        : std::string("none"));
  const auto backend = open_backend({});
  fmt::print("device: {}\n", backend ? (*backend)->detail() : backend.error().message);
  const Environment environment = read_environment();
  fmt::print("API key in the environment: {}\n", environment.api_keys.empty() ? "no" : "yes");
  return kExitOk;
}

}  // namespace m2::cli
