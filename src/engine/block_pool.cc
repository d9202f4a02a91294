#include "engine/block_pool.h"

#include "base/check.h"

namespace m2 {

BlockPool::BlockPool(int32_t num_blocks)
    : references_(num_blocks, 0), next_(num_blocks + 1), previous_(num_blocks + 1) {
  next_[sentinel()] = previous_[sentinel()] = sentinel();
  for (int32_t block = 0; block < num_blocks; ++block) {
    link_after(previous_[sentinel()], block);
  }
}

int32_t BlockPool::take() {
  const int32_t block = next_[sentinel()];
  if (block == sentinel()) return -1;
  unlink(block);
  references_[block] = 1;
  return block;
}

void BlockPool::reference(int32_t block) {
  if (references_[block]++ == 0) unlink(block);
}

void BlockPool::release(int32_t block, bool keep_content) {
  M2_CHECK(references_[block] > 0, "block {} released once too often", block);
  if (--references_[block] > 0) return;
  ++releases_;
  link_after(keep_content ? previous_[sentinel()] : sentinel(), block);
}

void BlockPool::unlink(int32_t block) {
  next_[previous_[block]] = next_[block];
  previous_[next_[block]] = previous_[block];
  --unreferenced_;
}

void BlockPool::link_after(int32_t position, int32_t block) {
  next_[block] = next_[position];
  previous_[block] = position;
  previous_[next_[block]] = block;
  next_[position] = block;
  ++unreferenced_;
}

void BlockPool::check_invariants() const {
  int32_t listed = 0;
  for (int32_t block = next_[sentinel()]; block != sentinel(); block = next_[block]) {
    M2_CHECK(references_[block] == 0, "block {} is listed and referenced", block);
    M2_CHECK(previous_[next_[block]] == block);
    M2_CHECK(++listed <= total(), "the list of unreferenced blocks has a loop");
  }
  int32_t referenced = 0;
  for (const int32_t count : references_) referenced += count > 0;
  M2_CHECK(listed == unreferenced_);
  M2_CHECK(listed + referenced == total(), "{} listed + {} referenced of {} blocks", listed,
           referenced, total());
}

}  // namespace m2
