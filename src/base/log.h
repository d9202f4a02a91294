// The program's log: one line an event, to stderr, for a person. Never prompts or replies unless
// asked for (--enable-log-requests). Thread-safe.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace m2 {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Sets the least level that is written. Called once, by cli, before threads start.
void set_log_level(LogLevel level);

void write_log(LogLevel level, std::string_view message);

template <typename... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  write_log(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  write_log(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  write_log(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  write_log(LogLevel::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace m2
