#include "backend/cpu/kernels.h"

#include <algorithm>

namespace m2 {

int64_t rows_an_item(int64_t rows, int32_t threads) {
  const int64_t items = int64_t{threads} * 4;
  const int64_t share = (rows + items - 1) / items;
  return std::clamp<int64_t>((share + 7) / 8 * 8, 8, kRowBlock);
}

}  // namespace m2
