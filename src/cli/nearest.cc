#include "cli/nearest.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

namespace m2::cli {
namespace {

// Levenshtein's distance, one row at a time.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string_view nearest(std::string_view typed, std::span<const std::string_view> known) {
  constexpr size_t kMaxTyped = 100;  // the work is typed x known; nobody mistypes more
  if (typed.size() > kMaxTyped) return {};
  std::string_view best;
  size_t least = typed.size() / 3 + 1;
  for (const std::string_view name : known) {
    const size_t edits = distance(typed, name);
    if (edits < least) {
      least = edits;
      best = name;
    }
  }
  return best;
}

}  // namespace m2::cli
