// Evidence about a checkpoint's block scales that needs no hashes. An FP8 matrix is quantised block
// by block, so a scale and the size of its block's codes belong together: their product, the size
// of the block's weights, is alike all over a trained matrix, far more than the scales are. A row
// of scales that was changed, or came from elsewhere, breaks that.
//
// Seen: rows of scales that are wrong by a factor well over what the model's own blocks differ by
// (1.6 for experts; in q, k and v heads differ, so there it is more). Not seen: a factor over a
// whole matrix, and scales that were exchanged for such of nearly the same value.
//
// Thread-safety: a pure function; it reads the files from threads of its own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace m2 {

struct ScaleCheck {
  struct Odd {
    std::string tensor;  // the scales' name
    int64_t row = 0;     // of them, in which the block lies that stands out most
    double factor = 1;   // between the largest and the smallest block of the matrix
  };
  int64_t tensors = 0, blocks = 0;
  std::vector<std::string> broken;  // a line each: scales that are no positive numbers, NaN codes
  std::vector<Odd> odd;             // the largest factor first
};

// Of all `*.weight_scale_inv` of a folder. A sixteenth of the weights is read.
Result<ScaleCheck> check_scales(const std::string& folder, int threads);

}  // namespace m2
