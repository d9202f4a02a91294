// Small files as text, within a bound.
//
// Thread-safety: pure functions of the disk.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"

namespace m2 {

// The whole file. kNotFound when it cannot be opened, kTooLarge past `max_bytes`; messages begin
// with the path. It may be a pipe: it is read in pieces, so that none takes more than the bound.
// What a clone without Git LFS leaves in a file's place is refused as that.
Result<std::string> read_file(const std::string& path, size_t max_bytes);

// Whether this is the beginning of such a pointer, and what to say of it.
bool is_lfs_pointer(std::string_view text);
inline constexpr std::string_view kLfsPointer =
    "a pointer of Git LFS in the file's place: `git lfs pull` in its folder fetches the file";

}  // namespace m2
