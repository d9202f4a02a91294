// --config file.yaml: a map of flag names to values, as vLLM reads it. Values go through the same
// rules as on the command line, which wins over them.
#pragma once

#include <string>

#include "base/error.h"
#include "cli/parse_flags.h"

namespace m2::cli {

Result<ParsedFlags> read_config_file(const Command& command, const std::string& path);

}  // namespace m2::cli
