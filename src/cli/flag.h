// What the command line knows of a flag. A command is a table of these; parse_flags.h reads an
// argument list by it and help.h prints it.
//
// Thread-safety: constant tables.
#pragma once

#include <span>
#include <string_view>
#include <vector>

namespace m2::cli {

enum class FlagKind {
  kSwitch,        // --x, --no-x, --x=true
  kInt,           // also 1k = 1000, 1K = 1024, 25.6k
  kIntOrAuto,     // as kInt, or "auto" (-1)
  kFloat,         //
  kText,          //
  kOptionalText,  // --x alone is true
  kList,          // --x a b c
  kAppend,        // --x a --x b, and as kList
  kJson,          // --x '{"a": 1}', --x.a 1, --x.list+ v
};

enum class FlagEffect {
  kUsed,      // does what its help says
  kNone,      // taken, without effect: one warning says why
  kNeedless,  // taken, and nothing is lost: m2 needs no asking; a line of the log says so
  kRefused,   // would change what m2 does, and m2 has it not: an error says why
};

struct Flag {
  std::string_view name;  // without the leading dashes; words joined by '-'
  FlagKind kind = FlagKind::kText;
  FlagEffect effect = FlagEffect::kUsed;
  std::string_view group;      // heading in --help; empty for flags that are not kUsed
  std::string_view note;       // help, or why it has no effect, or why it is refused
  std::string_view neutral{};  // of a refused flag: '|'-separated values that ask for nothing
};

// A short way to write a flag: "-tp" for "tensor-parallel-size".
struct Alias {
  std::string_view alias;  // without dashes
  std::string_view name;
};

struct Command {
  std::string_view name;
  std::string_view usage;    // "m2 serve MODEL [flags]"
  std::string_view summary;  // one line
  std::vector<Flag> flags;
  std::span<const Alias> aliases;
  size_t max_positionals = 0;
};

const Flag* find_flag(const Command& command, std::string_view name);

}  // namespace m2::cli
