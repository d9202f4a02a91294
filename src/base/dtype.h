// Element types of tensors and exact conversions to float. Plain functions that also compile as
// CUDA device code; no other header of ours may be included here.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace m2 {

enum class DType : uint8_t { kF32, kBF16, kF16, kF8E4M3, kI32, kI64, kU8 };

constexpr size_t dtype_bytes(DType type) {
  switch (type) {
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kI64:
      return 8;
    case DType::kBF16:
    case DType::kF16:
      return 2;
    case DType::kF8E4M3:
    case DType::kU8:
      return 1;
  }
  return 0;
}

constexpr const char* dtype_name(DType type) {
  switch (type) {
    case DType::kF32:
      return "F32";
    case DType::kBF16:
      return "BF16";
    case DType::kF16:
      return "F16";
    case DType::kF8E4M3:
      return "F8_E4M3";
    case DType::kI32:
      return "I32";
    case DType::kI64:
      return "I64";
    case DType::kU8:
      return "U8";
  }
  return "?";
}

using bf16_t = uint16_t;  // the upper half of a float
using f8_t = uint8_t;     // e4m3fn: 1 sign, 4 exponent (bias 7), 3 mantissa; 0x7f and 0xff are NaN

constexpr float bf16_to_float(bf16_t value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
}

// Rounds to nearest even; NaN stays NaN.
constexpr bf16_t float_to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<bf16_t>((bits >> 16) | 0x40u);
  return static_cast<bf16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

constexpr float f8_to_float(f8_t value) {
  const uint32_t sign = static_cast<uint32_t>(value & 0x80u) << 24;
  const uint32_t exponent = (value >> 3) & 15u;
  const uint32_t mantissa = value & 7u;
  if (exponent == 15u && mantissa == 7u) return std::bit_cast<float>(sign | 0x7fc00000u);
  if (exponent == 0u) {  // subnormal: mantissa * 2^-9
    const float magnitude = static_cast<float>(mantissa) * 0x1p-9f;
    return sign ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 120u) << 23) | (mantissa << 20));
}

// Rounds to nearest even and saturates at ±448; NaN becomes 0x7f.
constexpr f8_t float_to_f8(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint8_t sign = static_cast<uint8_t>((bits >> 24) & 0x80u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return 0x7f;
  if (magnitude >= 0x43e80000u) return static_cast<f8_t>(sign | 0x7e);  // >= 464 rounds past 448
  if (magnitude < 0x3c800000u) {  // below 2^-6: the subnormal step is 2^-9
    const float scaled = std::bit_cast<float>(magnitude) * 0x1p9f;  // in [0, 8)
    const float shifted = scaled + 0x1p23f;  // forces round-to-nearest-even to an integer
    return static_cast<f8_t>(sign | (std::bit_cast<uint32_t>(shifted) & 0xfu));
  }
  const uint32_t rounded = magnitude + 0x7ffffu + ((magnitude >> 20) & 1u);
  const uint32_t code = (rounded >> 20) - (120u << 3);
  return static_cast<f8_t>(sign | (code > 0x7eu ? 0x7eu : code));
}

}  // namespace m2
