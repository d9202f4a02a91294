// What this program is: its version, the commit and the compiler that made it.
#pragma once

#include <string>

namespace m2::cli {

std::string version_number();  // "0.1.0"
std::string version_line();    // "m2 0.1.0 (commit 1a2b3c4, g++ 12.2.0)"

}  // namespace m2::cli
