#include "cli/version.h"

#include <fmt/format.h>

namespace m2::cli {

std::string version_number() { return M2_VERSION; }

std::string version_line() {
#ifdef __clang__
  const char* compiler = "clang";
#else
  const char* compiler = "g++";
#endif
  return fmt::format("m2 {} (commit {}, {} {})", M2_VERSION, M2_COMMIT, compiler, __VERSION__);
}

}  // namespace m2::cli
