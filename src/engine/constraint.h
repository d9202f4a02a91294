// What a sequence may say next: a grammar, a thinking budget. Implemented in text; called by the
// engine, from its own thread and its mask threads, never two calls at once for one constraint.
#pragma once

#include <cstdint>
#include <span>

namespace m2 {

class Constraint {
 public:
  virtual ~Constraint() = default;

  // Clears the bits of tokens that are not allowed now (bit i of word i / 32 is token i; the caller
  // sets every bit first). Returns false when nothing is restricted: the mask is then ignored.
  virtual bool fill_mask(std::span<uint32_t> mask) = 0;

  // The sequence's next token. False when the token was not allowed: the sequence then ends with an
  // error of its own.
  virtual bool accept(int32_t token) = 0;

  // True when only an end token may follow.
  virtual bool finished() const = 0;
};

}  // namespace m2
