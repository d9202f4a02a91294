// Any bytes as a safetensors file: the reader must refuse them or give views that can be read
// whole.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "loader/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // At a multiple of 8, as a mapping is, and with nothing readable behind the last byte.
  static constexpr size_t kAlignment = 8;
  void* memory = nullptr;
  if (posix_memalign(&memory, kAlignment, size > 0 ? size : 1) != 0) return 0;
  auto* bytes = static_cast<std::byte*>(memory);
  if (size > 0) std::memcpy(bytes, data, size);
  if (const auto tensors = m2::parse_safetensors({bytes, size})) {
    size_t total = 0;
    unsigned sum = 0;
    for (const m2::NamedTensor& tensor : *tensors) {
      const auto* element = static_cast<const uint8_t*>(tensor.view.data);
      for (size_t i = 0; i < tensor.view.bytes(); ++i) sum += element[i];
      total += tensor.view.bytes();
    }
    // The tensors tile the data, so together they are never larger than the input.
    if (total > size) std::abort();
    [[maybe_unused]] volatile unsigned keep = sum;
  }
  std::free(memory);
  return 0;
}
