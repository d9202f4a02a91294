#include "base/file.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace m2 {

Result<std::string> read_file(const std::string& path, size_t max_bytes, FileKind kind) {
  // Before it is opened: to open a pipe is to wait for its writer.
  std::error_code unknown;
  const auto status = std::filesystem::status(path, unknown);
  if (kind == FileKind::kRegular && exists(status) && !is_regular_file(status)) {
    return invalid("", "{}: is not a regular file", path);
  }
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    // A name that no file can have is that of none.
    const bool none = errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG;
    return fail(none ? ErrorKind::kNotFound : ErrorKind::kInvalidArgument, "",
                "{}: cannot be opened: {}", path, std::strerror(errno));
  }
  std::string text;
  char piece[1 << 16];
  while (file) {
    file.read(piece, sizeof piece);
    text.append(piece, static_cast<size_t>(file.gcount()));
    if (text.size() > max_bytes) {
      return fail(ErrorKind::kTooLarge, "", "{}: over the limit of {} bytes", path, max_bytes);
    }
  }
  // What is a folder opens, too.
  if (file.bad()) return fail(ErrorKind::kInvalidArgument, "", "{}: cannot be read", path);
  if (is_lfs_pointer(text)) return invalid("", "{}: {}", path, kLfsPointer);
  return text;
}

bool is_lfs_pointer(std::string_view text) {
  return text.starts_with("version https://git-lfs.github.com/");
}

}  // namespace m2
