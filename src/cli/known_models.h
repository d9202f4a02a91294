// The published models of the family: their names, and the one shape that they share.
//
// Thread-safety: constants.
#pragma once

#include <optional>
#include <string_view>

#include "model/config.h"

namespace m2::cli {

// The config of a repository id of the family, without any file of it; nullopt: another model.
std::optional<ModelConfig> known_config(std::string_view repository);

}  // namespace m2::cli
