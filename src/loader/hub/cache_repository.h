// One repository in the cache that the Hugging Face libraries share:
//
//   models--ORG--NAME/blobs/<hash>              the bytes, each once
//                     snapshots/<commit>/<file> relative links into blobs
//                     refs/<revision>           the commit that a branch or tag stood at
//   .locks/models--ORG--NAME/<hash>.lock        flock while a blob is fetched
//
// What a reader can see is whole: blobs come by rename after their hash was checked, links and refs
// by rename too.
//
// Thread-safety: const members from any thread and any number of processes.
#pragma once

#include <cstdint>
#include <string>

#include "base/descriptor.h"
#include "base/error.h"

namespace m2 {

// Held while a blob is fetched, as the Hugging Face libraries do, so that two processes do not
// fetch the same bytes. It ends with the process, however that ends.
class BlobLock {
 public:
  enum class State { kHeld, kBusy, kUnsupported };  // the last: this file system has no locks

  State try_lock(const std::string& path);
  void unlock() { file_ = {}; }

 private:
  Descriptor file_;
};

class CacheRepository {
 public:
  // `repository` is org/name, checked before (loader/hub/names.h), as are all names below.
  CacheRepository(std::string cache, const std::string& repository);

  // Makes the folders; an error says which cannot be made.
  Status prepare(const std::string& commit) const;

  std::string snapshot(const std::string& commit) const { return root_ + "/snapshots/" + commit; }
  std::string blob(const std::string& name) const { return root_ + "/blobs/" + name; }
  std::string lock_path(const std::string& name) const { return locks_ + "/" + name + ".lock"; }
  // Of that size, unless it is negative: what something else has cut is not there.
  bool has_blob(const std::string& name, int64_t size) const;

  // The file of a snapshot becomes a link to the blob, which is there.
  Status link(const std::string& commit, const std::string& file, const std::string& blob) const;
  // The blob that a snapshot's file is linked to, if it is there; empty: none.
  std::string linked_blob(const std::string& commit, const std::string& file) const;
  Status write_ref(const std::string& revision, const std::string& commit) const;
  // A small blob, written beside and renamed.
  Status write_blob(const std::string& name, std::string_view bytes) const;

  int64_t free_bytes() const;  // of the file system; -1: unknown

 private:
  std::string cache_, root_, locks_;
};

// A path beside `path` that no other process writes.
std::string unique_beside(const std::string& path);

}  // namespace m2
