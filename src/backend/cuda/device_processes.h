// Who else holds memory of a GPU, by the driver's management library (NVML), which is opened by
// name: where it is missing, or hides the processes of other containers, nobody is named.
//
// Thread-safety: from any thread.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/backend.h"

namespace m2 {

// All but this process, the largest first.
std::vector<DeviceProcess> other_processes(int32_t device);

}  // namespace m2
