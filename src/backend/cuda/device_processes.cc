#include "backend/cuda/device_processes.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <string>

namespace m2 {
namespace {

// nvml.h's, which no wheel of the toolkit brings.
struct ProcessInfo {
  unsigned pid;
  unsigned long long used_bytes;  // all ones: not known
  unsigned gpu_instance, compute_instance;
};
constexpr int kSuccess = 0;

class Nvml {
 public:
  Nvml() : library_(dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL)) {
    if (library_ != nullptr) ready_ = call("nvmlInit_v2") == kSuccess;
  }
  ~Nvml() {
    if (ready_) (void)call("nvmlShutdown");
    if (library_ != nullptr) (void)dlclose(library_);
  }
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  bool ready() const { return ready_; }
  template <typename... Arguments>
  int call(const char* name, Arguments... arguments) const {
    const auto function = reinterpret_cast<int (*)(Arguments...)>(dlsym(library_, name));
    return function == nullptr ? -1 : function(arguments...);
  }

 private:
  void* library_;
  bool ready_ = false;
};

std::string name_of(unsigned pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  std::getline(file, name);
  return name;
}

}  // namespace

std::vector<DeviceProcess> other_processes(int32_t device) {
  std::vector<DeviceProcess> out;
  std::array<char, 32> bus_id{};
  if (cudaDeviceGetPCIBusId(bus_id.data(), bus_id.size(), device) != cudaSuccess) return out;
  const Nvml nvml;
  void* handle = nullptr;
  if (!nvml.ready() || nvml.call<const char*, void**>("nvmlDeviceGetHandleByPciBusId_v2",
                                                      bus_id.data(), &handle) != kSuccess) {
    return out;
  }
  std::array<ProcessInfo, 64> found{};  // more than anybody wants to read
  auto count = static_cast<unsigned>(found.size());
  if (nvml.call<void*, unsigned*, ProcessInfo*>("nvmlDeviceGetComputeRunningProcesses_v3", handle,
                                                &count, found.data()) != kSuccess) {
    return out;
  }
  for (unsigned i = 0; i < std::min<size_t>(count, found.size()); ++i) {
    if (found[i].pid == static_cast<unsigned>(getpid())) continue;
    const bool known = found[i].used_bytes != ~0ull;
    out.push_back({static_cast<int32_t>(found[i].pid), name_of(found[i].pid),
                   known ? static_cast<size_t>(found[i].used_bytes) : 0});
  }
  std::sort(out.begin(), out.end(),
            [](const DeviceProcess& a, const DeviceProcess& b) { return a.bytes > b.bytes; });
  return out;
}

}  // namespace m2
