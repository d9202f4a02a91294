// Measures what a GPU can do at best, the roof of `m2 bench`.
//
// Thread-safety: one at a time, and nothing else on the device.
#pragma once

#include "backend/backend.h"
#include "base/error.h"

namespace m2 {

Result<DeviceRates> measure_device_rates(int32_t device);

}  // namespace m2
