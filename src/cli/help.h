// --help of a command: its flags by group, from the same tables that parse them.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "cli/flag.h"

namespace m2::cli {

// Of one command. `topic` narrows it: a flag's name, a word of a group's heading, or "all", which
// adds the flags that are taken without effect or refused. Any other topic is an error that names
// the nearest one.
Result<std::string> command_help(const Command& command, std::string_view topic);

// Prints it, and returns the exit status.
int print_help(const Command& command, std::string_view topic);

}  // namespace m2::cli
