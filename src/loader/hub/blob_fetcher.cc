#include "loader/hub/blob_fetcher.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "base/log.h"

namespace m2 {
namespace {

using std::chrono::milliseconds;

constexpr int64_t kMostPiecesARun = 64;
// An answer that ends after less than this counts as none: it would go on byte by byte.
constexpr int64_t kLeastBytesAnAnswer = int64_t{16} << 10;
constexpr int kMostWrongHashes = 2;
constexpr milliseconds kFirstPause{200}, kLongestPause{10'000};
// How often a blob that another process holds is looked at.
constexpr milliseconds kLookAgain{200};

tl::unexpected<Error> later(const std::string& what, const std::string& why) {
  return fail(ErrorKind::kUnavailable, "model", "{}: {}", what, why);
}

// Whether a 206 is the part that was asked for: "bytes 0-9/100".
Status check_range(const FetchReply& reply, int64_t begin, int64_t size, const std::string& what) {
  const std::string* range = reply.header("content-range");
  if (!range) return {};  // some proxies drop it; the hash decides
  const std::string wanted = fmt::format("bytes {}-", begin);
  if (!range->starts_with(wanted)) return later(what, "the server sent another part than asked");
  const size_t slash = range->find('/');
  const std::string total = slash == range->npos ? "*" : range->substr(slash + 1);
  if (total != "*" && total != fmt::format("{}", size)) {
    return later(what, fmt::format("the server has {} bytes of it, the hub says {}", total, size));
  }
  return {};
}

}  // namespace

BlobFetcher::BlobFetcher(FetchOptions options, std::string repository, std::string commit,
                         const CacheRepository& cache, std::vector<HubFile> files, int connections,
                         DownloadProgress& progress)
    : options_(std::move(options)),
      repository_(std::move(repository)),
      commit_(std::move(commit)),
      cache_(cache),
      connections_(connections),
      progress_(progress) {
  for (HubFile& file : files) blobs_.emplace_back().file = std::move(file);
}

Status BlobFetcher::run() {
  std::vector<std::thread> helpers;
  for (int i = 1; i < connections_; ++i) helpers.emplace_back([this] { work(); });
  work();
  for (std::thread& helper : helpers) helper.join();
  if (failed_) return tl::unexpected(error_);
  if (done_ < blobs_.size()) return fail(ErrorKind::kInternal, "", "the download was stopped");
  return {};
}

void BlobFetcher::work() {
  HubClient client(options_, repository_);
  for (Job job = next_job(); job.blob; job = next_job()) {
    if (job.open) {
      open(*job.blob);
    } else {
      fetch(client, std::move(job));
    }
  }
}

BlobFetcher::Job BlobFetcher::next_job() {
  std::unique_lock lock(mutex_);
  while (!over() && done_ < blobs_.size()) {
    const auto now = Clock::now();
    if (now < not_before_) {
      changed_.wait_until(lock, std::min(not_before_, now + kLookAgain));
      continue;
    }
    if (Job job = find_job(); job.blob) {
      job.started = now;
      return job;
    }
    progress_.waiting = std::all_of(blobs_.begin(), blobs_.end(), [](const Blob& blob) {
      return blob.state == State::kDone || blob.state == State::kElsewhere;
    });
    changed_.wait_for(lock, kLookAgain);
  }
  changed_.notify_all();
  return {};
}

// The first file that has something to do.
BlobFetcher::Job BlobFetcher::find_job() {
  Job job;
  for (Blob& blob : blobs_) {
    const bool elsewhere = blob.state == State::kElsewhere && Clock::now() >= blob.look_again;
    if (blob.state == State::kIdle || elsewhere) {
      blob.state = State::kOpening;
      job.blob = &blob;
      job.open = true;
      return job;
    }
    if (blob.state == State::kOpen && claim(blob, job)) return job;
  }
  return job;
}

// A run of pieces that nobody has or fetches. Short runs near the end share what is left.
bool BlobFetcher::claim(Blob& blob, Job& job) {
  const auto total = static_cast<int64_t>(blob.claimed.size());
  int64_t begin = 0, end = total;
  if (blob.ranges) {
    while (begin < total && blob.claimed[static_cast<size_t>(begin)]) ++begin;
    const int64_t share = std::max<int64_t>(1, (total - begin) / connections_);
    const int64_t most = std::min(total, begin + std::min(kMostPiecesARun, share));
    end = begin;
    while (end < most && !blob.claimed[static_cast<size_t>(end)]) ++end;
    if (begin == end) return false;
  } else if (blob.in_flight > 0) {
    return false;
  }
  std::fill(blob.claimed.begin() + begin, blob.claimed.begin() + end, true);
  ++blob.in_flight;
  job.blob = &blob;
  job.begin = begin;
  job.end = end;
  job.ranges = blob.ranges;
  job.url = blob.file.url;
  return true;
}

// Takes the blob's lock and what an earlier run has left of it.
void BlobFetcher::open(Blob& blob) {
  const std::string& name = blob.file.blob;
  const BlobLock::State locked = blob.lock.try_lock(cache_.lock_path(name));
  if (locked == BlobLock::State::kBusy) {
    std::lock_guard lock(mutex_);
    blob.state = State::kElsewhere;
    blob.look_again = Clock::now() + kLookAgain;
    return;
  }
  if (cache_.has_blob(name, blob.file.size)) {  // another process was faster
    progress_.there_bytes += blob.file.size;
    return done(blob);
  }
  auto partial =
      PartialFile::open(cache_.blob(name), blob.file.size, locked == BlobLock::State::kHeld);
  if (!partial) return stop(std::move(partial.error()));
  progress_.there_bytes += partial->bytes();
  bool whole = true;
  {
    std::lock_guard lock(mutex_);
    blob.partial = std::move(*partial);
    blob.digest = std::make_unique<Digest>(name, blob.file.size);
    blob.claimed.clear();
    for (int64_t i = 0; i < blob.partial.num_pieces(); ++i) {
      blob.claimed.push_back(blob.partial.has(i));
      whole = whole && blob.partial.has(i);
    }
    blob.state = whole ? State::kFinishing : State::kOpen;
    changed_.notify_all();
  }
  if (whole) finish(blob);
}

void BlobFetcher::fetch(HubClient& client, Job job) {
  const std::optional<Failure> failure = fetch_run(client, job);
  if (failure && failure->error.kind != ErrorKind::kUnavailable) return stop(failure->error);
  if (failure && failure->counts) count_failure(job, *failure);
  if (const Status hashed = advance_hash(*job.blob, false); !hashed) return stop(hashed.error());
  if (release(job, failure)) finish(*job.blob);
}

// Fetches the job's pieces, going on where an answer ends too soon.
std::optional<BlobFetcher::Failure> BlobFetcher::fetch_run(HubClient& client, Job& job) {
  if (job.url.empty()) {
    HubFile file = job.blob->file;
    if (const Status found = client.look_up(commit_, file); !found) {
      return Failure{.error = found.error()};
    }
    std::lock_guard lock(mutex_);
    job.url = job.blob->file.url = file.url;
  }
  const int64_t end = std::min(job.blob->file.size, job.end * kPieceBytes);
  int64_t offset = job.begin * kPieceBytes;
  while (offset < end) {
    const int64_t begin = offset;
    const auto reply = fetch_part(client, job, offset);
    if (offset == end) break;
    client.http().drop_connections();
    if (!reply && reply.error().kind != ErrorKind::kUnavailable) {
      return Failure{.error = reply.error()};
    }
    const bool goes_on = job.ranges && offset - begin >= kLeastBytesAnAnswer && !over();
    if (!goes_on) return failure_of(client, job, reply);
  }
  return std::nullopt;
}

// One request for [offset, end of the job); `offset` becomes how far it came.
Result<FetchReply> BlobFetcher::fetch_part(HubClient& client, const Job& job, int64_t& offset) {
  const HubFile& file = job.blob->file;
  const int64_t begin = offset;
  const int64_t end = std::min(file.size, job.end * kPieceBytes);
  const auto on_head = [&](const FetchReply& reply) -> Status {
    if (!job.ranges) return {};
    if (reply.status == 206) return check_range(reply, begin, file.size, file.name);
    if (reply.status != 200) return {};
    std::lock_guard lock(mutex_);
    job.blob->ranges = false;
    return later(file.name, "the server gives no parts of it");
  };
  const auto on_bytes = [&](std::span<const std::byte> bytes) -> Status {
    if (static_cast<int64_t>(bytes.size()) > end - offset) {
      return later(file.name, "the server sends more than it said");
    }
    return take(job, offset, bytes);
  };
  return client.http().stream(job.url, begin, job.ranges ? end : 0, on_head, on_bytes);
}

// Writes what came, and notes the pieces that have become whole.
Status BlobFetcher::take(const Job& job, int64_t& offset, std::span<const std::byte> bytes) {
  PartialFile& partial = job.blob->partial;
  M2_TRY(partial.write(offset, bytes));
  const int64_t first = offset / kPieceBytes;
  offset += static_cast<int64_t>(bytes.size());
  progress_.fetched_bytes += static_cast<int64_t>(bytes.size());
  for (int64_t i = first; i < job.end && partial.piece_end(i) <= offset; ++i) {
    std::lock_guard lock(mutex_);
    if (partial.has(i)) continue;
    M2_TRY(partial.mark(i));
    progress_.there_bytes += partial.piece_end(i) - i * kPieceBytes;
    failures_ = 0;
  }
  return {};
}

BlobFetcher::Failure BlobFetcher::failure_of(HubClient& client, const Job& job,
                                             const Result<FetchReply>& reply) {
  const std::string what = repository_ + "/" + job.blob->file.name;
  Failure failure;
  if (!reply) {
    failure.error = reply.error();
    std::lock_guard lock(mutex_);
    failure.counts = job.blob->ranges == job.ranges;  // to find that out was no try
    return failure;
  }
  if (reply->status < 400) {
    failure.error = {ErrorKind::kUnavailable, what + ": the answer ended before all of it came",
                     "model"};
    return failure;
  }
  failure.error = status_error(*reply, what, !options_.token.empty());
  failure.asked = retry_after(*reply);
  if (is_transient(reply->status)) return failure;
  // A signed URL expires, and a size may have been a mirror's mistake. The hub's own word stands.
  failure.expired = job.url != client.resolve_url(commit_, job.blob->file.name);
  if (failure.expired || reply->status == 416) failure.error.kind = ErrorKind::kUnavailable;
  return failure;
}

// Gives back what a job did not come to; true when it was the blob's last.
bool BlobFetcher::release(const Job& job, const std::optional<Failure>& failure) {
  Blob& blob = *job.blob;
  std::lock_guard lock(mutex_);
  for (int64_t i = job.begin; i < job.end; ++i) {
    blob.claimed[static_cast<size_t>(i)] = blob.partial.has(i);
  }
  if (failure && failure->expired) blob.file.url.clear();
  changed_.notify_all();
  if (--blob.in_flight > 0 || blob.state != State::kOpen) return false;
  const bool whole =
      std::find(blob.claimed.begin(), blob.claimed.end(), false) == blob.claimed.end();
  if (whole) blob.state = State::kFinishing;
  return whole;
}

// Hashes the pieces that have come since, in order. Another thread may be at it: then it will see
// ours too, or the last one, which waits, does.
Status BlobFetcher::advance_hash(Blob& blob, bool wait) {
  std::unique_lock lock(blob.hash_mutex, std::defer_lock);
  if (wait) lock.lock();
  if (!wait && !lock.try_lock()) return {};
  std::vector<std::byte> bytes(static_cast<size_t>(kPieceBytes));
  while (blob.hashed_pieces < blob.partial.num_pieces() && !over()) {
    {
      std::lock_guard state(mutex_);
      if (!blob.partial.has(blob.hashed_pieces)) return {};
    }
    const int64_t begin = blob.hashed_pieces * kPieceBytes;
    const int64_t end = blob.partial.piece_end(blob.hashed_pieces);
    const auto piece = std::span(bytes).first(static_cast<size_t>(end - begin));
    M2_TRY(blob.partial.read(begin, piece));
    blob.digest->update(piece);
    ++blob.hashed_pieces;
  }
  return {};
}

// All pieces are there: the blob gets its name if its hash is right.
void BlobFetcher::finish(Blob& blob) {
  if (const Status hashed = advance_hash(blob, true); !hashed) return stop(hashed.error());
  if (over()) return;
  const std::string hash = blob.digest->hex();
  if (hash != blob.file.blob) {
    log_warning("{}: {} came with wrong bytes (hash {}, must be {}); nothing of it is kept",
                repository_, blob.file.name, hash, blob.file.blob);
    if (++blob.wrong == kMostWrongHashes) {
      (void)blob.partial.reset();
      return stop({ErrorKind::kUnavailable,
                   fmt::format("{}/{}: the server's bytes are not those that the hub names: hash "
                               "{}, must be {}",
                               repository_, blob.file.name, hash, blob.file.blob),
                   "model"});
    }
    return start_again(blob);
  }
  if (const Status named = blob.partial.finish(cache_.blob(blob.file.blob)); !named) {
    return stop(named.error());
  }
  done(blob);
}

void BlobFetcher::start_again(Blob& blob) {
  progress_.there_bytes -= blob.partial.bytes();
  if (const Status reset = blob.partial.reset(); !reset) return stop(reset.error());
  std::lock_guard lock(mutex_);
  blob.claimed.assign(static_cast<size_t>(blob.partial.num_pieces()), false);
  blob.digest = std::make_unique<Digest>(blob.file.blob, blob.file.size);
  blob.hashed_pieces = 0;
  blob.file.url.clear();
  blob.state = State::kOpen;
  changed_.notify_all();
}

// The blob is in the cache: its file can be linked.
void BlobFetcher::done(Blob& blob) {
  if (const Status linked = cache_.link(commit_, blob.file.name, blob.file.blob); !linked) {
    return stop(linked.error());
  }
  blob.lock.unlock();
  ++progress_.files_there;
  std::lock_guard lock(mutex_);
  blob.partial = PartialFile();
  blob.state = State::kDone;
  ++done_;
  changed_.notify_all();
}

void BlobFetcher::stop(Error error) {
  std::lock_guard lock(mutex_);
  if (!failed_) error_ = std::move(error);
  failed_ = true;
  changed_.notify_all();
}

// Every connection waits, longer each time; as long as the server asks, if it does. Several that
// failed at one time are one failure.
void BlobFetcher::count_failure(const Job& job, const Failure& failure) {
  std::lock_guard lock(mutex_);
  log_debug("{}; trying again", failure.error.message);
  const auto now = Clock::now();
  if (job.started >= not_before_) {
    ++failures_;
    const milliseconds pause =
        std::min(kLongestPause, kFirstPause * (1 << std::min(failures_ - 1, 6)));
    not_before_ = now + pause;
  }
  not_before_ = std::max(not_before_, now + failure.asked);
  if (failures_ < options_.most_tries) return;
  if (!failed_) {
    error_ = failure.error;
    error_.message +=
        fmt::format(" ({} tries); what came is kept, and the next start goes on", failures_);
  }
  failed_ = true;
  changed_.notify_all();
}

}  // namespace m2
