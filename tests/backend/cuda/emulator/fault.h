// What a GPU would answer with garbage, a hang or a sticky error: the program says what it was and
// ends, so that the test that ran fails.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

namespace m2::emulator {

[[noreturn]] void fault(const std::string& what);

template <typename First, typename... Rest>
[[noreturn]] void fault(fmt::format_string<First, Rest...> format, First&& first, Rest&&... rest) {
  fault(fmt::format(format, std::forward<First>(first), std::forward<Rest>(rest)...));
}

}  // namespace m2::emulator
