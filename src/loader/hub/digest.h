// The two hashes that the hub names files by: SHA-256 of large ones, git's object name of the rest.
//
// Thread-safety: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace m2 {

class Digest {
 public:
  // The hash that a name of that many digits stands for; git's begins with the file's size.
  Digest(std::string_view blob_name, int64_t size);
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;

  void update(std::span<const std::byte> bytes);
  std::string hex();  // once, at the end

 private:
  struct Free {
    void operator()(void* context) const;
  };
  std::unique_ptr<void, Free> context_;
};

// The same of a whole file; kNotFound where it cannot be opened.
Result<std::string> digest_file(const std::string& path, std::string_view blob_name);

}  // namespace m2
