// Small files as text, within a bound.
//
// Thread-safety: pure functions of the disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace m2 {

enum class FileKind : uint8_t {
  kRegular,  // what lies in a folder: a pipe in its place would be waited for without end
  kAny       // what a user names may be a pipe: `<(…)`, /dev/stdin
};

// The whole file. kNotFound when there is none, kInvalidArgument when it cannot be read, kTooLarge
// past `max_bytes`, which is read in pieces, so that nothing takes more than the bound; messages
// begin with the path. What a clone without Git LFS leaves in a file's place is refused as that.
Result<std::string> read_file(const std::string& path, size_t max_bytes,
                              FileKind kind = FileKind::kRegular);

// Whether this is the beginning of such a pointer, and what to say of it.
bool is_lfs_pointer(std::string_view text);
inline constexpr std::string_view kLfsPointer =
    "a pointer of Git LFS in the file's place: `git lfs pull` in its folder fetches the file";

}  // namespace m2
