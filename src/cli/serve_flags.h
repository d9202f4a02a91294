// The flags of `m2 serve`: every flag of `vllm serve` (and those that older versions had), each
// used, taken without effect or refused with its reason, and m2's own.
#pragma once

#include "cli/flag.h"

namespace m2::cli {

const Command& serve_command();

// The two halves of its table.
std::vector<Flag> serve_used_flags();
std::vector<Flag> serve_other_flags();

}  // namespace m2::cli
