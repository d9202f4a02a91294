// A blob that is being fetched, in pieces and in any order: the file `<blob>.m2.incomplete`, whose
// bytes are followed by one byte a piece that says whether the piece is there. So a process that is
// killed at any moment leaves what it had, and the next one goes on from there. A piece's byte is
// written after its data; what a crash of the machine may undo is found by the hash at the end.
//
// A download that the Hugging Face libraries of before 2026 broke off (`<blob>.incomplete`, bytes
// from the start on) is taken over.
//
// Thread-safety: write() and mark() of different pieces from any thread; the rest from one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/descriptor.h"
#include "base/error.h"

namespace m2 {

inline constexpr int64_t kPieceBytes = int64_t{1} << 20;

class PartialFile {
 public:
  // Of the blob that will be at `blob`. Without `resume` under a name of its own: where locks do
  // not work, another process may be writing the same blob.
  static Result<PartialFile> open(const std::string& blob, int64_t size, bool resume);

  int64_t size() const { return size_; }
  int64_t num_pieces() const { return static_cast<int64_t>(pieces_.size()); }
  bool has(int64_t piece) const { return pieces_[static_cast<size_t>(piece)] != 0; }
  int64_t piece_end(int64_t piece) const;
  int64_t bytes() const;  // of the pieces that are there

  Status write(int64_t offset, std::span<const std::byte> bytes);
  Status mark(int64_t piece);
  Status read(int64_t offset, std::span<std::byte> bytes) const;

  Status reset();  // nothing is there any more
  // The whole and checked file takes its final name.
  Status finish(const std::string& blob);

 private:
  std::string path_;
  Descriptor file_;
  int64_t size_ = 0;
  std::vector<uint8_t> pieces_;
};

}  // namespace m2
