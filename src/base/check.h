// M2_CHECK: ends the process on a programmer fault, with the place and a message. It must never be
// reachable from what a client, a file or a device does: those are Results (base/error.h).
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

namespace m2 {
[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               std::string_view message);
inline std::string check_message() { return {}; }
template <typename... Args>
std::string check_message(fmt::format_string<Args...> format, Args&&... args) {
  return fmt::format(format, std::forward<Args>(args)...);
}
}  // namespace m2

#define M2_CHECK(condition, ...)                                                            \
  do {                                                                                      \
    if (!(condition)) [[unlikely]]                                                          \
      ::m2::check_failed(__FILE__, __LINE__, #condition, ::m2::check_message(__VA_ARGS__)); \
  } while (0)
