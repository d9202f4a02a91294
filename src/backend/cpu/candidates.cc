#include "backend/cpu/candidates.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace m2 {
namespace {
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
}  // namespace

int32_t argmax(std::span<const float> logits) {
  int32_t best = -1;
  float largest = kMinusInfinity;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > largest) {
      largest = logits[i];
      best = static_cast<int32_t>(i);
    }
  }
  return best;
}

// One pass: what is below the worst of the best so far is skipped.
void select_best(std::span<const float> logits, size_t count, int32_t first_id,
                 std::vector<Candidate>& out) {
  const size_t limit = std::min(std::max<size_t>(4 * count, 256), logits.size());
  float threshold = kMinusInfinity;
  out.clear();
  const auto keep_best = [&] {
    if (out.size() <= count) return;
    std::nth_element(out.begin(), out.begin() + (count - 1), out.end(), better);
    threshold = out[count - 1].logit;
    out.resize(count);
  };
  for (size_t i = 0; i < logits.size(); ++i) {
    // A later equal one loses the tie against all that stand above the threshold already.
    if (!(logits[i] > threshold)) continue;
    if (out.size() == limit) {
      keep_best();
      if (!(logits[i] > threshold)) continue;
    }
    out.push_back({logits[i], static_cast<int32_t>(i) + first_id});
  }
  keep_best();
  std::sort(out.begin(), out.end(), better);
}

double share(std::span<const Candidate> candidates) {
  double sum = 0;
  for (const Candidate& c : candidates) sum += std::exp(c.logit - candidates.front().logit);
  return sum;
}

int32_t draw_among(std::span<const Candidate> candidates, double total, float top_p,
                   double uniform) {
  const float largest = candidates.front().logit;
  double kept = 0;
  size_t count = 0;
  while (count < candidates.size() && (count == 0 || kept < top_p * total)) {
    kept += std::exp(candidates[count++].logit - largest);
  }
  double left = uniform * kept;
  for (size_t i = 0; i < count; ++i) {
    left -= std::exp(candidates[i].logit - largest);
    if (left < 0) return candidates[i].id;
  }
  return candidates[count - 1].id;  // rounding left a little over
}

}  // namespace m2
