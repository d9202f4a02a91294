// Forced tokens, position by position: how far a device's logits are from the oracle's.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/backend/cpu/model_runner.h"

namespace m2::test {

// How far a GPU's logits may be from the oracle's, in standard deviations of the position.
inline constexpr double kTolerance = 0.08;
// With an FP8 cache: what rounds otherwise there is off by a sixteenth.
inline constexpr double kFp8Tolerance = 0.3;

struct LogitComparison {
  int64_t positions = 0;
  double largest = 0;             // difference of a logit, in standard deviations of the position
  double root_mean_square = 0;    // likewise
  std::vector<size_t> over;       // positions past the tolerance
  std::vector<size_t> wrong_top;  // another top token although the oracle's gap is past it
};

inline double deviation(const Logits& logits) {
  double sum = 0, squares = 0;
  for (const float x : logits) sum += x, squares += double{x} * x;
  const double mean = sum / double(logits.size());
  return std::sqrt(squares / double(logits.size()) - mean * mean);
}

inline LogitComparison compare_logits(const std::vector<Logits>& ours,
                                      const std::vector<Logits>& oracle, double tolerance) {
  LogitComparison result;
  double squares = 0, count = 0;
  for (size_t t = 0; t < oracle.size(); ++t) {
    const Logits& want = oracle[t];
    const double unit = deviation(want);
    double largest = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      const double difference = std::abs(double{ours[t][i]} - want[i]) / unit;
      // A NaN is as far off as can be.
      largest = difference <= largest ? largest : std::isnan(difference) ? 1e9 : difference;
      squares += difference * difference;
      ++count;
    }
    result.largest = std::max(result.largest, largest);
    if (largest > tolerance) result.over.push_back(t);
    const auto top = std::max_element(want.begin(), want.end());
    const auto our_top = std::max_element(ours[t].begin(), ours[t].end()) - ours[t].begin();
    if (our_top != top - want.begin() && *top - want[our_top] > tolerance * unit) {
      result.wrong_top.push_back(t);
    }
    ++result.positions;
  }
  result.root_mean_square = std::sqrt(squares / std::max(count, 1.0));
  return result;
}

}  // namespace m2::test
