#include "loader/hub/cache_repository.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/file.h"
#include "base/random.h"
#include "loader/hub/names.h"

namespace m2 {
namespace {

namespace fs = std::filesystem;

// Tells backup programs that this folder can be made again.
constexpr const char* kCacheTag =
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This folder is a cache of downloaded models.\n";

tl::unexpected<Error> disk_error(const char* what, const std::string& path) {
  return fail(ErrorKind::kInternal, "download-dir", "{} {}: {}", what, path, std::strerror(errno));
}

Status make_folders(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (!error) return {};
  return fail(ErrorKind::kInternal, "download-dir", "cannot make the folder {}: {}", path,
              error.message());
}

// Written beside, made durable, renamed: whoever reads `path` sees all of it or nothing.
Status write_whole(const std::string& path, std::string_view bytes) {
  const std::string beside = unique_beside(path);
  Descriptor file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!file) return disk_error("cannot write", beside);
  bool good = true;
  while (good && !bytes.empty()) {
    const ssize_t wrote = ::write(file.get(), bytes.data(), bytes.size());
    good = wrote > 0;
    if (good) bytes.remove_prefix(static_cast<size_t>(wrote));
  }
  good = good && ::fdatasync(file.get()) == 0;
  const int error = errno;
  file = {};
  if (good && ::rename(beside.c_str(), path.c_str()) == 0) return {};
  if (!good) errno = error;
  auto failed = disk_error("cannot write", path);
  ::unlink(beside.c_str());
  return failed;
}

}  // namespace

std::string unique_beside(const std::string& path) {
  return fmt::format("{}.{:016x}.m2.incomplete", path, random_bits());
}

BlobLock::State BlobLock::try_lock(const std::string& path) {
  unlock();
  // Whoever gives a lock up may remove its file: then a new one is taken.
  for (int i = 0; i < 16; ++i) {
    Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0664));
    if (!file) return State::kUnsupported;
    struct stat status {};
    if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
      return errno == EWOULDBLOCK || errno == EINTR ? State::kBusy : State::kUnsupported;
    }
    if (::fstat(file.get(), &status) == 0 && status.st_nlink > 0) {
      file_ = std::move(file);
      return State::kHeld;
    }
  }
  return State::kBusy;
}

CacheRepository::CacheRepository(std::string cache, const std::string& repository)
    : cache_(std::move(cache)) {
  std::string name = "models--" + repository;
  name.replace(name.find('/'), 1, "--");
  root_ = cache_ + "/" + name;
  locks_ = cache_ + "/.locks/" + name;
}

Status CacheRepository::prepare(const std::string& commit) const {
  M2_TRY(make_folders(root_ + "/blobs"));
  M2_TRY(make_folders(root_ + "/refs"));
  M2_TRY(make_folders(snapshot(commit)));
  M2_TRY(make_folders(locks_));
  std::error_code error;
  const std::string tag = cache_ + "/CACHEDIR.TAG";
  if (!fs::exists(tag, error)) (void)write_whole(tag, kCacheTag);  // a nicety
  return {};
}

bool CacheRepository::has_blob(const std::string& name, int64_t size) const {
  struct stat status {};
  if (::stat(blob(name).c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
  return size < 0 || status.st_size == size;
}

Status CacheRepository::link(const std::string& commit, const std::string& file,
                             const std::string& blob) const {
  if (linked_blob(commit, file) == blob) return {};
  const std::string path = snapshot(commit) + "/" + file;
  const std::string beside = unique_beside(path);
  if (::symlink(("../../blobs/" + blob).c_str(), beside.c_str()) != 0) {
    return disk_error("cannot link", path);
  }
  if (::rename(beside.c_str(), path.c_str()) == 0) return {};
  auto failed = disk_error("cannot link", path);
  ::unlink(beside.c_str());
  return failed;
}

std::string CacheRepository::linked_blob(const std::string& commit, const std::string& file) const {
  const std::string path = snapshot(commit) + "/" + file;
  std::error_code error;
  const fs::path target = fs::read_symlink(path, error);
  if (error || !fs::is_regular_file(path, error)) return "";
  const std::string name = target.filename().string();
  return is_blob_name(name) ? name : "";
}

Status CacheRepository::write_ref(const std::string& revision, const std::string& commit) const {
  if (is_commit(revision)) return {};
  const std::string path = root_ + "/refs/" + revision;
  M2_TRY(make_folders(fs::path(path).parent_path().string()));
  const auto old = read_file(path, 4096);
  if (old && *old == commit) return {};
  return write_whole(path, commit);
}

Status CacheRepository::write_blob(const std::string& name, std::string_view bytes) const {
  return write_whole(blob(name), bytes);
}

int64_t CacheRepository::free_bytes() const {
  struct statvfs status {};
  if (::statvfs(root_.c_str(), &status) != 0) return -1;
  return static_cast<int64_t>(status.f_bavail) * static_cast<int64_t>(status.f_frsize);
}

}  // namespace m2
