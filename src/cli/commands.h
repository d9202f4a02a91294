// The commands of `m2`. Each takes the arguments after its name and returns the exit status:
// 0 for success, 1 for a failure, 2 for a usage error (reported on stderr).
#pragma once

#include <span>
#include <string>

namespace m2::cli {

inline constexpr int kExitOk = 0, kExitFailure = 1, kExitUsage = 2;

using Arguments = std::span<const std::string>;

int run_main(Arguments arguments);  // everything after the program's name

int run_serve(Arguments arguments);
int run_chat(Arguments arguments);
int run_complete(Arguments arguments);
int run_bench(Arguments arguments);
int run_download(Arguments arguments);
int run_plan(Arguments arguments);
int run_check(Arguments arguments);
int run_collect_env(Arguments arguments);

}  // namespace m2::cli
