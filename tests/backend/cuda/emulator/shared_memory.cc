#include "tests/backend/cuda/emulator/shared_memory.h"

#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstdint>

#include "tests/backend/cuda/emulator/fault.h"

namespace m2::emulator {
namespace {

constexpr size_t kAlignment = 1024;

// The block whose memory is where kernels look for it. Not thread-local, as it is no kernel's.
SharedMemory* inside = nullptr;

// Thread-local memory of this library is made when a thread first comes to some of it.
thread_local volatile std::byte touched{};

// The calling thread's.
std::span<std::byte> thread_local_memory() {
  touched = std::byte{1};
  std::span<std::byte> found;
  const auto look = [](dl_phdr_info* library, size_t, void* result) {
    const std::span headers(library->dlpi_phdr, library->dlpi_phnum);
    const bool ours = std::any_of(headers.begin(), headers.end(), [&](const ElfW(Phdr) & header) {
      const auto own = reinterpret_cast<uintptr_t>(&inside);
      const uintptr_t begin = library->dlpi_addr + header.p_vaddr;
      return header.p_type == PT_LOAD && own >= begin && own < begin + header.p_memsz;
    });
    for (const ElfW(Phdr) & header : headers) {
      if (!ours || header.p_type != PT_TLS) continue;
      *static_cast<std::span<std::byte>*>(result) = {
          static_cast<std::byte*>(library->dlpi_tls_data), header.p_memsz};
    }
    return ours ? 1 : 0;
  };
  dl_iterate_phdr(look, &found);
  if (found.empty()) fault("no memory for what kernels share");
  return found;
}

}  // namespace

SharedMemory::SharedMemory(size_t dynamic_bytes, std::byte unwritten)
    : unwritten_(unwritten), dynamic_memory_(dynamic_bytes + kAlignment, unwritten) {
  const auto address = reinterpret_cast<uintptr_t>(dynamic_memory_.data());
  dynamic_ = dynamic_memory_.data() + (kAlignment - address % kAlignment) % kAlignment;
}

SharedMemory::~SharedMemory() {
  if (inside == this) inside = nullptr;
}

void SharedMemory::enter() {
  if (inside == this) return;
  const std::span<std::byte> memory = thread_local_memory();
  if (inside != nullptr) inside->aside_.assign(memory.begin(), memory.end());
  if (aside_.empty()) {
    std::fill(memory.begin(), memory.end(), unwritten_);
  } else {
    std::copy(aside_.begin(), aside_.end(), memory.begin());
  }
  inside = this;
}

void* SharedMemory::place_in(const SharedMemory& other, void* place) const {
  const auto at = static_cast<std::byte*>(place) - dynamic_;
  const bool dynamic = at >= 0 && at < dynamic_memory_.data() + dynamic_memory_.size() - dynamic_;
  return dynamic ? other.dynamic_ + at : place;
}

}  // namespace m2::emulator
