// "Did you mean": the known name that is closest to what was typed.
#pragma once

#include <span>
#include <string_view>

namespace m2::cli {

// Empty when nothing is near: more than a third of the letters would have to change.
std::string_view nearest(std::string_view typed, std::span<const std::string_view> known);

}  // namespace m2::cli
