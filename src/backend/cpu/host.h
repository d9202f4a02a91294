// What this machine, or the container around the process, has to give.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace m2 {

// Cores that the process may use: its affinity, and a container's quota rounded up.
int32_t usable_cores();

// Memory that can be taken without swapping, within a container's limit.
size_t free_memory_bytes();

// The limits as the kernel writes them, apart for tests. cpu.max: "max 100000" or "150000 100000".
int32_t cores_of_quota(const std::string& cpu_max, int32_t cores);
// The "MemAvailable:" line of /proc/meminfo; 0 when there is none.
size_t available_of_meminfo(const std::string& meminfo);

}  // namespace m2
