// `m2 serve`: the one place that wires loader, runtime, engine, text and server together.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/model_files.h"
#include "cli/serve_options.h"
#include "engine/executor.h"

namespace m2::cli {

// One a replica of the model (--data-parallel-size), all with the same capacity.
using Executors = std::vector<std::unique_ptr<Executor>>;

// Makes what the engines run on. `m2` loads the model; m2-echo (tests/e2e) has none.
using ExecutorFactory = std::function<Result<Executors>(const ServeOptions&, const ModelFiles&)>;

// On the real model (run_serve.cc).
Result<Executors> load_executors(const ServeOptions& options, const ModelFiles& files);

// Serves until a signal or a fault; returns the exit status.
// Weights that are not on disk are downloaded before it is called.
int serve(Arguments arguments, const ExecutorFactory& make_executors);

}  // namespace m2::cli
