// Reads an argument list by a command's table of flags, with vLLM's habits: '-' and '_' are one,
// --x=y, --no-x, -tp, human-readable numbers, JSON and dotted forms. The last of two wins, with a
// warning. Errors are usage errors (exit 2) and name the nearest flag for one that is unknown.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/flag.h"
#include "json/json.h"

namespace m2::cli {

struct ParsedFlags {
  std::vector<std::string> positionals;
  // By flag name. A switch is a bool, a list an array of strings, a number an integer or a double.
  std::map<std::string, json::Value, std::less<>> values;
  std::vector<std::string> warnings, notes;  // for the log
  bool help = false;
  std::string help_topic;  // --help=topic

  const json::Value* find(std::string_view name) const;
};

Result<ParsedFlags> parse_flags(const Command& command, std::span<const std::string> arguments);

// The value that `text` stands for under the flag's kind; a list has one element then.
Result<json::Value> flag_value(const Flag& flag, std::string_view text);

// "1k" is 1000, "1K" 1024, likewise m, g and t; a fraction ("25.6k") only with the decimal ones.
Result<int64_t> parse_count(std::string_view field, std::string_view text);

// Takes what `parsed` lacks from `defaults` (a config file's values).
void merge_defaults(ParsedFlags& parsed, ParsedFlags defaults);

// Refuses flags that m2 has not, and collects into one warning those that have no effect; into a
// note those that were needless.
Status check_effects(const Command& command, ParsedFlags& parsed);

}  // namespace m2::cli
