// `m2 serve`: the one place that wires loader, runtime, engine, text and server together.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/model_files.h"
#include "cli/serve_options.h"
#include "cli/start_state.h"
#include "engine/executor.h"
#include "runtime/runtime.h"

namespace m2::cli {

// One a replica of the model (--data-parallel-size), all with the same capacity.
using Executors = std::vector<std::unique_ptr<Executor>>;

// Makes what the engines run on, and tells how far it is. `m2` loads the model; m2-echo (tests/e2e)
// has none.
using ExecutorFactory =
    std::function<Result<Executors>(const ServeOptions&, const ModelFiles&, StartState&)>;

// Whether the devices have room for the model. Asked before its weights are downloaded: what cannot
// be served is not fetched. May be empty.
using RoomCheck = std::function<Status(const ServeOptions&, const ModelFiles&)>;
Status check_room(const ServeOptions& options, const ModelFiles& files);

// The real model on a device, with its facts in the log (run_serve.cc).
Result<Runtime> load_runtime(const ServeOptions& options, const ModelFiles& files,
                             StartState& state);
Result<Executors> load_executors(const ServeOptions& options, const ModelFiles& files,
                                 StartState& state);

// Serves until a signal or a fault; returns the exit status.
// The port is open from the start; what is not on disk is downloaded then.
int serve(Arguments arguments, const ExecutorFactory& make_executors, const RoomCheck& room = {});

}  // namespace m2::cli
