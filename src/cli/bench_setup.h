// What `m2 bench` runs on: the shape's config, its weights, and room for the largest of the steps.
//
// Thread-safety: plain values; load is called from the thread that makes ranks.
#pragma once

#include <optional>
#include <string>

#include "backend/backend.h"
#include "base/error.h"
#include "cli/bench_options.h"
#include "loader/checkpoint.h"
#include "model/config.h"
#include "runtime/runtime.h"
#include "runtime/step_cost.h"

namespace m2::cli {

struct BenchSetup {
  ModelConfig config;
  std::optional<Checkpoint> checkpoint;  // of a folder; none: random weights
  int32_t threads = 1;

  LoadWeights load() const;
  std::string title(const BenchOptions& options) const;
};

// Refuses steps that are longer than the model's positions.
Result<BenchSetup> bench_setup(const BenchOptions& options);

// The steps that the options name: decode first.
std::vector<StepShape> bench_shapes(const BenchOptions& options);
// Room for the steps, no more; `steps` decode steps follow each other.
RuntimeOptions bench_runtime(const BenchOptions& options, const std::vector<StepShape>& shapes);

// "decode 8" or "prefill 512".
std::string shape_name(const StepShape& shape);
// Beside the device's rates: "floor … ms = … %".
std::string floor_text(const StepCost& cost, double seconds, const DeviceRates& rates);

}  // namespace m2::cli
