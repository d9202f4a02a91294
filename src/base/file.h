// Small files as text, within a bound.
//
// Thread-safety: pure functions of the disk.
#pragma once

#include <cstddef>
#include <string>

#include "base/error.h"

namespace m2 {

// The whole file. kNotFound when it cannot be opened, kTooLarge past `max_bytes`; messages begin
// with the path. It may be a pipe: it is read in pieces, so that none takes more than the bound.
Result<std::string> read_file(const std::string& path, size_t max_bytes);

}  // namespace m2
