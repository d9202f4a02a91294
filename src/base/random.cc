#include "base/random.h"

#include <random>

namespace m2 {

uint64_t random_bits() {
  thread_local std::random_device device;
  return uint64_t{device()} << 32 | device();
}

}  // namespace m2
