// Our own reader of safetensors files. A file is foreign bytes: parse_safetensors() trusts nothing
// of it, and after it returns, every view lies inside the file, is aligned for its element type,
// has exactly the bytes that its shape says, and shares none with another tensor.
//
// SafetensorsFile maps the file read-only; views stay valid while it lives. A mapping cannot keep
// another process from cutting the file short, and touching a page past the new end raises SIGBUS.
// So the size is taken once at open, and fetch() asks the kernel for the pages first: a file
// that was cut short, or a disk that fails, is then an error instead of a signal (a cut between
// fetch() and the copy still ends the process). Where the kernel is older than Linux 5.14, fetch()
// does nothing.
//
// Thread-safety: const members from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/tensor.h"

namespace m2 {

inline constexpr uint64_t kMaxSafetensorsHeaderBytes = 25'000'000;

struct NamedTensor {
  std::string name;
  TensorView view;
};

// Every tensor of a whole file's bytes, sorted by name. `bytes` starts at a multiple of 8.
Result<std::vector<NamedTensor>> parse_safetensors(std::span<const std::byte> bytes);

class SafetensorsFile {
 public:
  // Messages start with the path.
  static Result<SafetensorsFile> open(const std::string& path);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&& other) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&& other) noexcept;

  const std::string& path() const { return path_; }
  size_t bytes() const { return bytes_.size(); }
  const std::vector<NamedTensor>& tensors() const { return tensors_; }  // sorted by name
  const TensorView* find(std::string_view name) const;                  // nullptr when absent

  // Brings the pages of a part of the mapping into memory, in large reads.
  Status fetch(std::span<const std::byte> part) const;

 private:
  SafetensorsFile() = default;

  std::string path_;
  std::span<const std::byte> bytes_;  // the mapping
  std::vector<NamedTensor> tensors_;
};

}  // namespace m2
