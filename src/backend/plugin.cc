#include "backend/plugin.h"

#include <dlfcn.h>

#include <utility>

namespace m2 {

// Never closed: device libraries do not survive it, and the process ends soon after.
Result<std::unique_ptr<Backend>> open_plugin(const std::string& file,
                                             const BackendOptions& options) {
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return fail(ErrorKind::kUnavailable, "device", "the GPU plug-in does not open: {}", dlerror());
  }
  const auto open = reinterpret_cast<OpenPlugin>(dlsym(library, kPluginFunction));
  if (open == nullptr) {
    return fail(ErrorKind::kUnavailable, "device", "{} has no {}", file, kPluginFunction);
  }
  Error error;
  std::unique_ptr<Backend> backend(open(kPluginInterface, options, &error));
  if (backend == nullptr) return tl::unexpected(std::move(error));
  return backend;
}

PluginMemory find_plugin_memory(const std::string& file) {
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return nullptr;
  const auto* interface = static_cast<const int32_t*>(dlsym(library, kPluginInterfaceName));
  if (interface == nullptr || *interface != kPluginInterface) return nullptr;
  return reinterpret_cast<PluginMemory>(dlsym(library, kPluginMemoryFunction));
}

}  // namespace m2
