#include "backend/cpu/candidates.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace m2 {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// In order of id, as a sampler of the whole vocabulary walks it.
int32_t draw_in_order(std::vector<Candidate>& all, double uniform) {
  const Candidate best = all.front();
  double left = uniform * share(all);
  std::sort(all.begin(), all.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  for (const Candidate& c : all) {
    left -= std::exp(c.logit - best.logit);
    if (left < 0) return c.id;
  }
  return best.id;
}

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

bool cut_min_p(float min_p, std::vector<Candidate>& all) {
  if (min_p <= 0) return false;
  const float least = all.front().logit + std::log(min_p);
  const size_t before = all.size();
  while (all.back().logit < least) all.pop_back();
  return all.size() < before;
}

int32_t draw_from_best(std::vector<Candidate>& all, const BestOfAll& known, float top_p,
                       float min_p, double uniform) {
  bool complete = std::ssize(all) == known.alive;
  if (!complete && all.size() > known.certain) all.resize(known.certain);
  // What min_p cuts off here leaves nothing better elsewhere.
  complete |= cut_min_p(min_p, all);
  if (complete) {
    return top_p < 1 ? draw_among(all, share(all), top_p, uniform) : draw_in_order(all, uniform);
  }
  if (min_p > 0 || top_p >= 1 || share(all) < top_p * known.total) return -1;
  return draw_among(all, known.total, top_p, uniform);
}

}  // namespace m2
