// A file descriptor that is closed with its owner.
//
// Thread-safety: one thread at a time, as an int.
#pragma once

#include <unistd.h>

#include <utility>

namespace m2 {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}  // takes it over; none if it is negative
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(Descriptor&& other) noexcept : number_(other.release()) {}
  Descriptor& operator=(Descriptor other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }

  explicit operator bool() const { return number_ >= 0; }
  int get() const { return number_; }
  int release() { return std::exchange(number_, -1); }  // whoever gets it closes it

 private:
  int number_ = -1;
};

}  // namespace m2
