#include "backend/cuda_plugin.h"

#include <dlfcn.h>

#include <utility>

namespace m2 {
namespace {

constexpr int32_t kLeastCapability = 70, kLeastOfCuda13 = 75;
constexpr const char* kCudaPluginSm70 = "libm2_cuda_sm70.so";

// CUdevice_attribute
constexpr int kMajor = 75, kMinor = 76;

template <typename... Arguments>
bool call(void* library, const char* name, Arguments... arguments) {
  const auto function = reinterpret_cast<int (*)(Arguments...)>(dlsym(library, name));
  return function != nullptr && function(arguments...) == 0;
}

}  // namespace

// Both count alike: they are built of one source.
PluginMemory find_cuda_memory() {
  const PluginMemory found = find_plugin_memory(kCudaPlugin);
  return found != nullptr ? found : find_plugin_memory(kCudaPluginSm70);
}

// The driver is asked, not a plug-in's CUDA, which may refuse devices that it was not made for.
std::optional<CudaDevice> first_cuda_device() {
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (driver == nullptr) return std::nullopt;
  int device = 0, major = 0, minor = 0;
  char name[128] = "";
  if (!call<unsigned>(driver, "cuInit", 0u) ||
      !call<int*, int>(driver, "cuDeviceGet", &device, 0) ||
      !call<int*, int, int>(driver, "cuDeviceGetAttribute", &major, kMajor, device) ||
      !call<int*, int, int>(driver, "cuDeviceGetAttribute", &minor, kMinor, device) ||
      !call<char*, int, int>(driver, "cuDeviceGetName", name, sizeof name - 1, device)) {
    return std::nullopt;
  }
  return CudaDevice{name, 10 * major + minor};
}

const char* cuda_plugin_for(int32_t capability) {
  if (capability < kLeastCapability) return nullptr;
  return capability < kLeastOfCuda13 ? kCudaPluginSm70 : kCudaPlugin;
}

Result<std::unique_ptr<Backend>> open_cuda(const std::optional<CudaDevice>& device,
                                           const BackendOptions& options) {
  if (!device) {
    auto opened = open_plugin(kCudaPlugin, options);
    if (!opened && find_plugin_memory(kCudaPlugin) == nullptr) {
      opened.error().message += "; make cuda builds it";
    }
    return opened;
  }
  const int32_t capability = device->capability;
  const std::string what = fmt::format("{} has compute capability {}.{}", device->name,
                                       capability / 10, capability % 10);
  const char* file = cuda_plugin_for(capability);
  if (file == nullptr) {
    return fail(ErrorKind::kUnsupported, "device", "{}; GPUs of {}.{} and later are served", what,
                kLeastCapability / 10, kLeastCapability % 10);
  }
  auto opened = open_plugin(file, options);
  if (!opened && find_plugin_memory(file) == nullptr) {
    opened.error().message += fmt::format("; {}, for which make {} builds it", what,
                                          file == kCudaPlugin ? "cuda" : "cuda-sm70");
  }
  return opened;
}

}  // namespace m2
