// Fetches the large files of a repository into its cache: several connections at once, each taking
// a run of pieces of the first file that has some left, so that files become whole one after
// another. The hash is taken as pieces arrive; a blob gets its name only when it is right.
//
// What the network may do is expected: dropped, stalled and truncated answers go on from the byte
// where they ended; 429 and 5xx are waited out; a signed URL that has expired is looked up anew; a
// server without ranges is read from start to end; wrong bytes are fetched once more, then refused.
// It gives up when no byte has come over several tries of every connection.
//
// Thread-safety: run() from one thread.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "loader/hub/cache_repository.h"
#include "loader/hub/digest.h"
#include "loader/hub/hub_client.h"
#include "loader/hub/partial_file.h"
#include "loader/hub/progress.h"

namespace m2 {

class BlobFetcher {
 public:
  // `files` have a hash and a size.
  BlobFetcher(FetchOptions options, std::string repository, std::string commit,
              const CacheRepository& cache, std::vector<HubFile> files, int connections,
              DownloadProgress& progress);

  Status run();

 private:
  using Clock = std::chrono::steady_clock;
  enum class State { kIdle, kElsewhere, kOpening, kOpen, kFinishing, kDone };

  struct Blob {
    HubFile file;
    State state = State::kIdle;
    Clock::time_point look_again{};  // kElsewhere: another process fetches it
    BlobLock lock;
    PartialFile partial;
    std::vector<bool> claimed;  // pieces that are there or on their way
    bool ranges = true;         // the server gives parts of it
    int wrong = 0;              // times that its hash was wrong
    int in_flight = 0;          // jobs

    std::mutex hash_mutex;  // over what follows
    std::unique_ptr<Digest> digest;
    int64_t hashed_pieces = 0;
  };

  struct Job {
    Blob* blob = nullptr;         // null: there is no more to do
    bool open = false;            // the blob is to be opened; else pieces are to be fetched
    int64_t begin = 0, end = 0;   // pieces
    bool ranges = true;           // else the whole file, from its start
    std::string url;              // empty: to be looked up
    Clock::time_point started{};  // failures of one time count once
  };

  // Why a job ended before its end.
  struct Failure {
    Error error;
    std::chrono::milliseconds asked{0};  // the server's Retry-After
    bool counts = true;                  // as a try in vain
    bool expired = false;                // the URL is to be looked up anew
  };

  void work();
  Job next_job();
  Job find_job();
  bool claim(Blob& blob, Job& job);
  void open(Blob& blob);
  void fetch(HubClient& client, Job job);
  std::optional<Failure> fetch_run(HubClient& client, Job& job);
  Result<FetchReply> fetch_part(HubClient& client, const Job& job, int64_t& offset);
  Failure failure_of(HubClient& client, const Job& job, const Result<FetchReply>& reply);
  Status take(const Job& job, int64_t& offset, std::span<const std::byte> bytes);
  bool release(const Job& job, const std::optional<Failure>& failure);
  Status advance_hash(Blob& blob, bool wait);
  void finish(Blob& blob);
  void start_again(Blob& blob);
  void stop(Error error);
  void count_failure(const Job& job, const Failure& failure);
  void done(Blob& blob);
  bool over() const { return failed_ || progress_.cancelled; }

  const FetchOptions options_;
  const std::string repository_, commit_;
  const CacheRepository& cache_;
  const int connections_;
  DownloadProgress& progress_;

  std::mutex mutex_;  // over blobs' state and what follows
  std::condition_variable changed_;
  std::deque<Blob> blobs_;
  size_t done_ = 0;
  std::atomic<bool> failed_ = false;
  Error error_;
  int failures_ = 0;  // since a piece came last
  Clock::time_point not_before_{};
};

}  // namespace m2
