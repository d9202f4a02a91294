// What the machine can do at best, measured: the roof that benchmarks are held against.
//
// Thread-safety: run one at a time, and nothing else beside it.
#pragma once

#include <cstdint>

namespace m2 {

// Bytes a second that all threads together read from memory; about half a second.
double measure_read_rate(int32_t threads);

// Floating-point operations a second of all threads together in fp32 fused multiply-adds of 8
// lanes; about half a second.
double measure_fma_rate(int32_t threads);

}  // namespace m2
