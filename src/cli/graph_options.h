// Which steps of a GPU are recorded as CUDA graphs, from vLLM's flags for that:
// --compilation-config, -O, --enforce-eager and the capture sizes.
#pragma once

#include "backend/backend.h"
#include "base/error.h"
#include "cli/parse_flags.h"

namespace m2::cli {

// What is not said is the fastest. --enforce-eager wins over all, then the compilation config.
Result<GraphOptions> read_graph_options(const ParsedFlags& flags);

}  // namespace m2::cli
