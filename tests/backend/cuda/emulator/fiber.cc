#include "tests/backend/cuda/emulator/fiber.h"

#include <cstdint>
#include <cstdlib>

namespace m2::emulator {
namespace {

constexpr size_t kStackBytes = size_t{256} << 10;  // of which what is used is touched alone
// Stacks that all end at the same place of a page would take the same few lines of the cache.
constexpr size_t kLineBytes = 64, kPlaces = 509, kPlaceLines = 7;

size_t next_bytes() {
  static size_t made = 0;
  return kStackBytes - made++ * kPlaceLines % kPlaces * kLineBytes;
}

}  // namespace

// makecontext() passes integers alone.
void Fiber::enter(unsigned high, unsigned low) {
  auto* self = reinterpret_cast<Fiber*>(uintptr_t{high} << 32 | low);
  self->body_(self->argument_);
  std::abort();
}

Fiber::Fiber(void (*body)(void*), void* argument)
    : stack_(new std::byte[kStackBytes]), body_(body), argument_(argument), fresh_(true) {
  getcontext(&begin_);
  begin_.uc_stack.ss_sp = stack_.get();
  begin_.uc_stack.ss_size = next_bytes();
  begin_.uc_link = nullptr;
  const auto self = reinterpret_cast<uintptr_t>(this);
  makecontext(&begin_, reinterpret_cast<void (*)()>(&Fiber::enter), 2,
              static_cast<unsigned>(self >> 32), static_cast<unsigned>(self));
}

// Contexts keep signal masks, which costs two calls of the system a switch: they serve to get onto
// a stack, and jumps from then on.
void Fiber::switch_to(Fiber& other) {
  if (_setjmp(place_) == 0) other.resume();
}

void Fiber::resume() {
  if (!fresh_) _longjmp(place_, 1);
  fresh_ = false;
  setcontext(&begin_);
  std::abort();
}

}  // namespace m2::emulator
