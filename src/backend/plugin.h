// The functions of a device's plug-in. They are looked up by name and so are C, but both sides are
// built together: C++ types cross them, and a number tells sides apart that are not.
//
// Thread-safety: call from one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backend/backend.h"
#include "base/error.h"

#define M2_PLUGIN_EXPORT __attribute__((visibility("default")))

namespace m2 {

// Goes up with every change of backend.h, model/ops.h or what they include.
inline constexpr int32_t kPluginInterface = 8;
inline constexpr const char* kPluginInterfaceName = "m2_plugin_interface";  // the plug-in's int32_t
inline constexpr const char* kPluginFunction = "m2_open_plugin";

// A new Backend, or null and why not.
using OpenPlugin = Backend* (*)(int32_t interface, const BackendOptions& options, Error* error);

// What the ops of one rank would take, without a device.
inline constexpr const char* kPluginMemoryFunction = "m2_plugin_memory";
using PluginMemory = void (*)(const ModelConfig& config, const Shard& shard,
                              const OpsLimits& limits, const GraphOptions& graphs,
                              OpsMemory* memory);

// That of `file`; null where it does not open, or has another interface.
PluginMemory find_plugin_memory(const std::string& file);

// Opens `file`, looked for beside the program and in the system's library paths.
Result<std::unique_ptr<Backend>> open_plugin(const std::string& file,
                                             const BackendOptions& options);

}  // namespace m2
