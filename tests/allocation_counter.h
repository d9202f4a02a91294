// Counts every allocation of a program, on any thread. Linking allocation_counter.cc replaces
// operator new, so a program that counts is one of its own.
#pragma once

#include <atomic>
#include <cstdint>

namespace m2::test {

extern std::atomic<int64_t> allocations;

}  // namespace m2::test
