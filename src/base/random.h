// Numbers that nobody outside can foretell: for ids, default seeds and keys of hashes. What must
// repeat (sampling, dummy weights) has generators of its own.
//
// Thread-safety: any thread.
#pragma once

#include <cstdint>

namespace m2 {

uint64_t random_bits();

}  // namespace m2
