// What the flags of `m2 serve` ask of the runtime; `m2 plan` plans by the same.
#pragma once

#include "cli/serve_options.h"
#include "runtime/runtime.h"

namespace m2::cli {

// All but what the model's files decide: max_model_tokens and real_vocab.
RuntimeOptions runtime_options(const ServeOptions& options);

}  // namespace m2::cli
