// Copies a slice of a checkpoint tensor into the layout of the weights. The views were checked
// against the slice's whole shape before.
//
// Thread-safety: pure functions over the given memory.
#pragma once

#include <cstddef>
#include <string>

#include "base/error.h"
#include "base/tensor.h"
#include "model/shard.h"

namespace m2 {

inline std::string scale_name(const std::string& name) { return name + "_scale_inv"; }

// `out` takes row_count x column_count elements: as stored, or widened to fp32 for kF32. Of these a
// NaN is refused: in the router's bias it would keep an expert from ever being chosen, without a
// word. An infinity may be meant so.
Status copy_slice(const TensorSlice& slice, const TensorView& view, std::byte* out);

// `out` takes scale_tiles(row_count) x scale_tiles(column_count) floats. A scale that is not a
// finite number is refused: it would turn every logit into NaN.
Status copy_scales(const TensorSlice& slice, const TensorView& table, float* out);

}  // namespace m2
