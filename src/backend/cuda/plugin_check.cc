// The plug-in's own end of a failed M2_CHECK: it links nothing that the program holds already.
#include <cstdio>
#include <cstdlib>

#include "base/check.h"

namespace m2 {

void check_failed(const char* file, int line, const char* condition, std::string_view message) {
  std::fprintf(stderr, "%s:%d: check failed: %s %.*s\n", file, line, condition,
               static_cast<int>(message.size()), message.data());
  std::abort();
}

}  // namespace m2
