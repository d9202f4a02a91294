// What `m2 check` can tell of a model's files without running the model.
//
// Thread-safety: one thread; large files are read by threads of its own.
#pragma once

#include <string>
#include <string_view>

#include "cli/findings.h"
#include "model/config.h"

namespace m2::cli {

// Names, types and shapes of all tensors.
void check_headers(const std::string& folder, const ModelConfig& config, Findings& findings);

// Every file whose hash the hub has told: a whole model is read. False: none is known.
bool check_hashes(const std::string& folder, Findings& findings);

// Scales that do not fit their blocks (loader/scale_check.h). Of a model that is right some may
// stand out, so that is a note; what is no number is a fault.
void check_block_scales(const std::string& folder, Findings& findings);

// Whether a file is one of the published ones: others may be right, but are not what was tested.
void check_published(const std::string& folder, std::string_view file, Findings& findings);

}  // namespace m2::cli
