#include "tests/allocation_counter.h"

#include <cstdlib>
#include <new>

namespace m2::test {
std::atomic<int64_t> allocations{0};
}  // namespace m2::test

// Not inlined: compilers would otherwise see free() meet new and warn.
[[gnu::noinline]] void* operator new(size_t size) {
  m2::test::allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }
