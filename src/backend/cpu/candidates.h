// Tokens that may be drawn, best first: choosing the best of many, and drawing among them.
//
// Thread-safety: pure functions; nothing allocates beyond a vector's capacity.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace m2 {

struct Candidate {
  float logit;
  int32_t id;
};

// By logit; ties go to the lower id.
inline bool better(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

// The index of the largest; -1 when all are -inf.
int32_t argmax(std::span<const float> logits);

// The `count` best of `logits` (fewer when the rest is -inf), best first, into `out`, whose
// capacity is at least logits.size(). Ids are indices plus `first_id`.
void select_best(std::span<const float> logits, size_t count, int32_t first_id,
                 std::vector<Candidate>& out);

// Sum of exp(logit - that of the first).
double share(std::span<const Candidate> candidates);

// Draws among `candidates` (best first), of which top_p keeps the fewest whose share of `total`
// reaches it. `uniform` is in [0, 1).
int32_t draw_among(std::span<const Candidate> candidates, double total, float top_p,
                   double uniform);

// Cuts what min_p forbids off the end of `all` (best first, not empty); true when there was some.
bool cut_min_p(float min_p, std::vector<Candidate>& all);

// What is known of all tokens when only some are at hand.
struct BestOfAll {
  size_t certain = 0;  // so many of the candidates are the best of all for sure
  int64_t alive = 0;   // tokens that may be drawn
  double total = 0;    // their sum of exp(logit - that of the best)
};

// Draws without top_k from the best tokens of several samplers (best first, not empty); -1 when
// they do not decide it. Changes `all`.
int32_t draw_from_best(std::vector<Candidate>& all, const BestOfAll& known, float top_p,
                       float min_p, double uniform);

}  // namespace m2
