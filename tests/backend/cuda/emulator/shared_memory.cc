#include "tests/backend/cuda/emulator/shared_memory.h"

#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstdint>

#include "tests/backend/cuda/emulator/fault.h"

namespace m2::emulator {
namespace {

constexpr std::byte kUnwritten{0xff};
constexpr size_t kAlignment = 1024;

// The block whose memory is where kernels look for it. Not thread-local, as it is no kernel's.
SharedMemory* inside = nullptr;

// Thread-local memory of this library is made when a thread first comes to some of it.
thread_local volatile std::byte touched{};

// The calling thread's.
std::span<std::byte> thread_local_memory() {
  touched = kUnwritten;
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

SharedMemory::SharedMemory(size_t dynamic_bytes)
    : dynamic_memory_(dynamic_bytes + kAlignment, kUnwritten) {
  const auto address = reinterpret_cast<uintptr_t>(dynamic_memory_.data());
  dynamic_ = dynamic_memory_.data() + (kAlignment - address % kAlignment) % kAlignment;
}

SharedMemory::~SharedMemory() {
  if (inside == this) inside = nullptr;
}

std::byte* SharedMemory::at(void* place, const SharedMemory& running) {
  auto* byte = static_cast<std::byte*>(place);
  if (this == &running) return byte;
  const std::span<std::byte> memory = thread_local_memory();
  if (byte >= memory.data() && byte < memory.data() + memory.size()) {
    if (aside_.empty()) fault("memory of a block is written that has not begun");
    return aside_.data() + (byte - memory.data());
  }
  return dynamic_ + (byte - running.dynamic_);
}

void SharedMemory::enter() {
  if (inside == this) return;
  const std::span<std::byte> memory = thread_local_memory();
  if (inside != nullptr) inside->aside_.assign(memory.begin(), memory.end());
  if (aside_.empty()) {
    std::fill(memory.begin(), memory.end(), kUnwritten);
  } else {
    std::copy(aside_.begin(), aside_.end(), memory.begin());
  }
  inside = this;
}

}  // namespace m2::emulator
