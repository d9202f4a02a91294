// Reads one JSON file of a model folder, with a bound on its size.
#pragma once

#include <string>

#include "base/error.h"
#include "json/json.h"

namespace m2 {

// kNotFound when the file cannot be opened. Messages start with the path.
Result<json::Value> read_json_file(const std::string& path, const json::Limits& limits = {});

}  // namespace m2
