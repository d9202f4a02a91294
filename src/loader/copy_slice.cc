#include "loader/copy_slice.h"

#include <cmath>
#include <cstring>

#include "model/config.h"
#include "model/weights.h"

namespace m2 {
namespace {

// Of F32 or BF16, in which some converters store the scales too; it widens exactly.
float value_at(const TensorView& view, int64_t index) {
  return view.dtype == DType::kF32 ? view.as<float>()[index]
                                   : bf16_to_float(view.as<bf16_t>()[index]);
}

Status check_numbers(const TensorSlice& slice, const TensorView& view) {
  for (int64_t row = slice.row_begin; row < slice.row_begin + slice.row_count; ++row) {
    const int64_t first = row * slice.columns + slice.column_begin;
    for (int64_t i = first; i < first + slice.column_count; ++i) {
      if (!std::isnan(value_at(view, i))) continue;
      return invalid("model", "{}: element {} is nan", slice.name, i);
    }
  }
  return {};
}

void copy_elements(const TensorSlice& slice, const TensorView& view, std::byte* out) {
  const bool widen = slice.format == SliceFormat::kF32 && view.dtype == DType::kBF16;
  const size_t element = dtype_bytes(view.dtype);
  const auto* source = static_cast<const std::byte*>(view.data) +
                       (slice.row_begin * slice.columns + slice.column_begin) * element;
  if (!widen && slice.column_count == slice.columns) {  // whole rows lie together
    std::memcpy(out, source, slice.row_count * slice.columns * element);
    return;
  }
  for (int64_t row = 0; row < slice.row_count; ++row, source += slice.columns * element) {
    if (!widen) {
      std::memcpy(out + row * slice.column_count * element, source, slice.column_count * element);
      continue;
    }
    const auto* from = reinterpret_cast<const bf16_t*>(source);
    auto* to = reinterpret_cast<float*>(out) + row * slice.column_count;
    for (int64_t i = 0; i < slice.column_count; ++i) to[i] = bf16_to_float(from[i]);
  }
}

}  // namespace

Status copy_slice(const TensorSlice& slice, const TensorView& view, std::byte* out) {
  copy_elements(slice, view, out);
  return slice.format == SliceFormat::kF32 ? check_numbers(slice, view) : Status{};
}

Status copy_scales(const TensorSlice& slice, const TensorView& table, float* out) {
  const int64_t tile_rows = scale_tiles(slice.row_count);
  const int64_t tile_columns = scale_tiles(slice.column_count);
  for (int64_t i = 0; i < tile_rows; ++i) {
    const int64_t row = (slice.row_begin + kScaleTile * i) / kFp8BlockSize;
    for (int64_t j = 0; j < tile_columns; ++j) {
      // The block that the tile lies in, by its place in the whole tensor, not in the slice.
      const int64_t column = (slice.column_begin + kScaleTile * j) / kFp8BlockSize;
      const float scale = value_at(table, row * table.shape[1] + column);
      if (!std::isfinite(scale)) {
        return invalid("model", "{}[{},{}] is {}, no finite number", scale_name(slice.name), row,
                       column, scale);
      }
      out[i * tile_columns + j] = scale;
    }
  }
  return {};
}

}  // namespace m2
