// How many pieces of a size hold a number of things: the last one may not be full.
#pragma once

#include <cstdint>

namespace m2 {

// a / b rounded up; a ≥ 0, b > 0.
constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace m2
