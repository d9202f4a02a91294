#include "backend/cpu/router.h"

#include <cmath>

#include "base/check.h"

namespace m2 {
namespace {

float sigmoid(float x) {
  const float s = 1.0f / (1.0f + std::exp(-x));
  return std::isfinite(s) ? s : 0.0f;
}

// Of a bias that is not a number the sum is below all others.
bool above(float choice, float other) {
  return choice > other || (std::isnan(other) && !std::isnan(choice));
}

}  // namespace

void choose_experts(const float* logits, const float* bias, int32_t num_experts, int32_t count,
                    int32_t* chosen, float* weights) {
  M2_CHECK(count >= 1 && count <= kMaxExpertsPerToken && count <= num_experts);
  float best[kMaxExpertsPerToken];
  int32_t held = 0;
  for (int32_t e = 0; e < num_experts; ++e) {
    const float s = sigmoid(logits[e]);
    const float choice = s + bias[e];
    if (held == count && !above(choice, best[held - 1])) continue;
    // Insertion into the falling list; strict comparison keeps the lower index first on a tie.
    int32_t at = held < count ? held++ : count - 1;
    for (; at > 0 && above(choice, best[at - 1]); --at) {
      best[at] = best[at - 1];
      chosen[at] = chosen[at - 1];
      weights[at] = weights[at - 1];
    }
    best[at] = choice;
    chosen[at] = e;
    weights[at] = s;
  }
  float sum = 0;
  for (int32_t i = 0; i < count; ++i) sum += weights[i];
  if (!(sum > 0)) sum = 1;
  for (int32_t i = 0; i < count; ++i) weights[i] /= sum;
}

}  // namespace m2
