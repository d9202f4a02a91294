#include "loader/hub/partial_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/divide_up.h"
#include "loader/hub/cache_repository.h"

namespace m2 {
namespace {

tl::unexpected<Error> write_error(const std::string& path) {
  return fail(ErrorKind::kInternal, "download-dir", "cannot write {}: {}", path,
              std::strerror(errno));
}

bool write_at(int file, const void* data, size_t count, int64_t offset) {
  const auto* bytes = static_cast<const char*>(data);
  while (count > 0) {
    const ssize_t wrote = ::pwrite(file, bytes, count, offset);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    bytes += wrote;
    offset += wrote;
    count -= static_cast<size_t>(wrote);
  }
  return true;
}

}  // namespace

Result<PartialFile> PartialFile::open(const std::string& blob, int64_t size, bool resume) {
  PartialFile file;
  file.size_ = size;
  file.path_ = resume ? blob + ".m2.incomplete" : unique_beside(blob);
  file.pieces_.resize(static_cast<size_t>(divide_up(size, kPieceBytes)));
  const auto marks = static_cast<int64_t>(file.pieces_.size());
  int64_t theirs = 0;  // bytes that another program has left from the start on
  struct stat status {};
  const std::string foreign = blob + ".incomplete";
  if (resume && ::stat(file.path_.c_str(), &status) != 0 &&
      ::rename(foreign.c_str(), file.path_.c_str()) == 0 &&
      ::stat(file.path_.c_str(), &status) == 0) {
    theirs = std::min<int64_t>(status.st_size, size);
  }
  file.file_ =
      Descriptor(::open(file.path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
  if (!file.file_) return write_error(file.path_);
  if (::fstat(file.file_.get(), &status) != 0) return write_error(file.path_);
  if (theirs > 0) {
    std::fill_n(file.pieces_.begin(), theirs == size ? marks : theirs / kPieceBytes, 1);
  } else if (status.st_size == size + marks) {
    if (::pread(file.file_.get(), file.pieces_.data(), file.pieces_.size(), size) != marks) {
      return write_error(file.path_);
    }
    for (uint8_t& piece : file.pieces_) piece = piece == 1 ? 1 : 0;
    return file;
  } else if (status.st_size == size && size > 0) {
    // Ended between losing its marks and taking its name: all there, but for the hash to say.
    std::fill(file.pieces_.begin(), file.pieces_.end(), 1);
  }
  if (::ftruncate(file.file_.get(), size + marks) != 0 ||
      !write_at(file.file_.get(), file.pieces_.data(), file.pieces_.size(), size)) {
    return write_error(file.path_);
  }
  return file;
}

int64_t PartialFile::piece_end(int64_t piece) const {
  return std::min(size_, (piece + 1) * kPieceBytes);
}

int64_t PartialFile::bytes() const {
  int64_t sum = 0;
  for (int64_t i = 0; i < num_pieces(); ++i) {
    if (has(i)) sum += piece_end(i) - i * kPieceBytes;
  }
  return sum;
}

Status PartialFile::write(int64_t offset, std::span<const std::byte> bytes) {
  if (write_at(file_.get(), bytes.data(), bytes.size(), offset)) return {};
  return write_error(path_);
}

Status PartialFile::mark(int64_t piece) {
  const uint8_t there = 1;
  if (!write_at(file_.get(), &there, 1, size_ + piece)) return write_error(path_);
  pieces_[static_cast<size_t>(piece)] = 1;
  return {};
}

Status PartialFile::read(int64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t got = ::pread(file_.get(), bytes.data(), bytes.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      return fail(ErrorKind::kInternal, "download-dir", "cannot read {} again: {}", path_,
                  got < 0 ? std::strerror(errno) : "it has become shorter");
    }
    offset += got;
    bytes = bytes.subspan(static_cast<size_t>(got));
  }
  return {};
}

Status PartialFile::reset() {
  std::fill(pieces_.begin(), pieces_.end(), 0);
  if (::ftruncate(file_.get(), 0) == 0 && ::ftruncate(file_.get(), size_ + num_pieces()) == 0) {
    return {};
  }
  return write_error(path_);
}

Status PartialFile::finish(const std::string& blob) {
  if (::ftruncate(file_.get(), size_) != 0 || ::fdatasync(file_.get()) != 0 ||
      ::rename(path_.c_str(), blob.c_str()) != 0) {
    return write_error(blob);
  }
  return {};
}

}  // namespace m2
