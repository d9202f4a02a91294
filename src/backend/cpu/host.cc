#include "backend/cpu/host.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <limits>
#include <sstream>
#include <thread>

namespace m2 {
namespace {

std::string read_file(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// "max" and absent files are no limit.
size_t number_in(const char* path) {
  std::istringstream text(read_file(path));
  size_t value = 0;
  return text >> value ? value : std::numeric_limits<size_t>::max();
}

}  // namespace

int32_t cores_of_quota(const std::string& cpu_max, int32_t cores) {
  std::istringstream text(cpu_max);
  int64_t quota = 0, period = 0;
  if (!(text >> quota >> period) || quota <= 0 || period <= 0) return cores;
  return static_cast<int32_t>(std::clamp<int64_t>((quota + period - 1) / period, 1, cores));
}

size_t available_of_meminfo(const std::string& meminfo) {
  const size_t at = meminfo.find("MemAvailable:");
  if (at == std::string::npos) return 0;
  std::istringstream text(meminfo.substr(at + 13));
  size_t kibibytes = 0;
  text >> kibibytes;
  return kibibytes * 1024;
}

int32_t usable_cores() {
  const int32_t cores = std::max(1, static_cast<int32_t>(std::thread::hardware_concurrency()));
  return cores_of_quota(read_file("/sys/fs/cgroup/cpu.max"), cores);
}

size_t free_memory_bytes() {
  const size_t available = available_of_meminfo(read_file("/proc/meminfo"));
  const size_t limit = number_in("/sys/fs/cgroup/memory.max");
  if (limit == std::numeric_limits<size_t>::max()) return available;
  const size_t used = number_in("/sys/fs/cgroup/memory.current");
  return std::min(available, used < limit ? limit - used : 0);
}

}  // namespace m2
