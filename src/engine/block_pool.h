// Counts the references to each KV block and chooses which block to reuse. It knows nothing of
// tokens: what a block holds is the prefix cache's business.
//
// Unreferenced blocks stand in one list in the order in which they are to be reused: worthless ones
// first, then those whose content may still be wanted, the longest unused first.
//
// Thread-safety: one owner. Invariant: a block is in the list exactly when nothing references it.
#pragma once

#include <cstdint>
#include <vector>

namespace m2 {

class BlockPool {
 public:
  explicit BlockPool(int32_t num_blocks);

  // Takes the first block of the list, with one reference; -1 when every block is referenced.
  int32_t take();
  // One more reference; an unreferenced block leaves the list.
  void reference(int32_t block);
  // One reference less. The last one puts the block into the list: at the end if its content is
  // worth keeping, else at the front.
  void release(int32_t block, bool keep_content);

  int32_t references(int32_t block) const { return references_[block]; }
  int32_t total() const { return static_cast<int32_t>(references_.size()); }
  int32_t unreferenced() const { return unreferenced_; }
  // Grows whenever a block becomes unreferenced: what did not fit before may fit now.
  uint64_t releases() const { return releases_; }

  void check_invariants() const;

 private:
  // The list is a ring through one extra element, so that no end is a special case.
  int32_t sentinel() const { return total(); }
  void unlink(int32_t block);
  void link_after(int32_t position, int32_t block);

  std::vector<int32_t> references_;  // [num_blocks]
  std::vector<int32_t> next_;        // [num_blocks + 1]
  std::vector<int32_t> previous_;    // [num_blocks + 1]
  int32_t unreferenced_ = 0;
  uint64_t releases_ = 0;
};

}  // namespace m2
