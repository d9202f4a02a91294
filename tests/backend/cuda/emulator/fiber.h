// A thread of control with a stack of its own that runs until it switches to another one: what a
// thread of a kernel is here.
//
// Thread-safety: none; fibers that switch to each other belong to one thread of the host.
#pragma once

#include <ucontext.h>

#include <csetjmp>
#include <cstddef>
#include <memory>

namespace m2::emulator {

class Fiber {
 public:
  // The stack of whoever makes it: to be switched back to.
  Fiber() = default;
  // Calls body(argument), which never returns, when it is first switched to.
  Fiber(void (*body)(void*), void* argument);
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Leaves this fiber, which is the running one, until somebody switches to it again.
  void switch_to(Fiber& other);

 private:
  static void enter(unsigned high, unsigned low);
  [[noreturn]] void resume();

  std::unique_ptr<std::byte[]> stack_;
  void (*body_)(void*) = nullptr;
  void* argument_ = nullptr;
  bool fresh_ = false;
  ucontext_t begin_;
  jmp_buf place_;
};

}  // namespace m2::emulator
