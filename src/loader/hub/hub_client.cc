#include "loader/hub/hub_client.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/log.h"
#include "json/json.h"
#include "loader/hub/digest.h"
#include "loader/hub/names.h"

namespace m2 {
namespace {

using std::chrono::milliseconds;

constexpr size_t kMaxListingBytes = size_t{16} << 20;
constexpr size_t kMaxFiles = 8192;
constexpr milliseconds kFirstPause{250}, kLongestPause{10'000}, kLongestAsked{120'000};

const std::string* text_of(const json::Value* value) {
  return value && value->is_string() ? &value->as_string() : nullptr;
}

// One of the listing's "siblings". A name that is not safe, or lies deeper, is none of a model's.
bool read_file_entry(const json::Value& entry, HubFile& file) {
  const std::string* name = text_of(entry.find("rfilename"));
  if (!name || !is_file_name(*name)) return false;
  file.name = *name;
  if (const json::Value* size = entry.find("size"); size && size->is_int()) {
    file.size = size->as_int() >= 0 ? size->as_int() : -1;
  }
  const json::Value* lfs = entry.find("lfs");
  const std::string* hash = lfs ? text_of(lfs->find("sha256")) : nullptr;
  const std::string* object = text_of(entry.find("blobId"));
  if (hash && is_blob_name(*hash) && hash->size() == 64) {
    file.blob = *hash;
    if (const json::Value* size = lfs->find("size"); size && size->is_int()) {
      file.size = size->as_int() >= 0 ? size->as_int() : file.size;
    }
  } else if (!(lfs && lfs->is_object()) && object && is_blob_name(*object)) {
    file.blob = *object;
  }
  return true;
}

std::string shown(const std::string& text) {
  std::string out;
  for (const char c : text.substr(0, 120)) out += c >= ' ' && c < 0x7f ? c : '?';
  return out;
}

// "other: modified-mit (https://…)" from the model card.
std::string read_licence(const json::Value& model) {
  const json::Value* card = model.find("cardData");
  if (!card) return "";
  const std::string* licence = text_of(card->find("license"));
  const std::string* name = text_of(card->find("license_name"));
  const std::string* link = text_of(card->find("license_link"));
  std::string out;
  if (name) out = shown(*name);
  if (out.empty() && licence) out = shown(*licence);
  if (!out.empty() && link) out += " (" + shown(*link) + ")";
  return out;
}

// "W/\"abc\"" and "\"abc\"" to "abc".
std::string bare_etag(std::string_view etag) {
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') {
    etag = etag.substr(1, etag.size() - 2);
  }
  return std::string(etag);
}

}  // namespace

const HubFile* HubListing::find(std::string_view name) const {
  const auto found = std::find_if(files.begin(), files.end(),
                                  [&](const HubFile& file) { return file.name == name; });
  return found == files.end() ? nullptr : &*found;
}

bool is_transient(long status) { return status == 408 || status == 429 || status >= 500; }

milliseconds retry_after(const FetchReply& reply) {
  // A date in place of seconds is rare, and then a pause of our own serves.
  const auto seconds = reply.number("retry-after");
  if (!seconds) return milliseconds(0);
  return std::min(milliseconds(std::min<int64_t>(*seconds, 3600) * 1000), kLongestAsked);
}

Error status_error(const FetchReply& reply, const std::string& what, bool with_token) {
  const std::string* code = reply.header("x-error-code");
  const std::string reason = code ? " (" + shown(*code) + ")" : "";
  if (reply.status == 401 || reply.status == 403) {
    return {ErrorKind::kNotFound,
            fmt::format("{}: the hub answers {}{}: {}", what, reply.status, reason,
                        with_token ? "the token does not open it, or its terms were not accepted "
                                     "on the hub's page of the model"
                                   : "no such model, or it needs a token (HF_TOKEN or --hf-token)"),
            "model"};
  }
  if (reply.status == 404) {
    return {ErrorKind::kNotFound, fmt::format("{} is not on the hub{}", what, reason), "model"};
  }
  return {ErrorKind::kUnavailable,
          fmt::format("{}: the hub answers {}{}", what, reply.status, reason), "model"};
}

HubClient::HubClient(FetchOptions options, std::string repository)
    : options_(std::move(options)), repository_(std::move(repository)), http_(options_) {}

std::string HubClient::resolve_url(const std::string& commit, const std::string& name) const {
  return fmt::format("{}/{}/resolve/{}/{}", options_.endpoint, repository_, commit, name);
}

Status HubClient::rest(milliseconds pause) const {
  const auto until = std::chrono::steady_clock::now() + pause;
  while (std::chrono::steady_clock::now() < until) {
    if (options_.cancelled && *options_.cancelled) return fail(ErrorKind::kInternal, "", "stopped");
    std::this_thread::sleep_for(milliseconds(20));
  }
  return {};
}

template <typename Ask>
Result<FetchReply> HubClient::ask(const std::string& what, int most_tries, const Ask& ask) {
  milliseconds pause = kFirstPause;
  for (int tried = 1;; ++tried) {
    Result<FetchReply> reply = ask();
    if (reply && !is_transient(reply->status)) return reply;
    if (!reply && reply.error().kind != ErrorKind::kUnavailable) return reply;
    if (tried >= most_tries) {
      if (reply) return tl::unexpected(status_error(*reply, what, !options_.token.empty()));
      return fail(ErrorKind::kUnavailable, "model", "{}: {} ({} tries)", what,
                  reply.error().message, tried);
    }
    const milliseconds asked = reply ? retry_after(*reply) : milliseconds(0);
    if (asked > kLongestPause) {
      log_info("{}: the hub asks to wait {} s", what, asked.count() / 1000);
    } else {
      log_debug("{}: trying again", what);
    }
    M2_TRY(rest(std::max(pause, asked)));
    pause = std::min(pause * 2, kLongestPause);
  }
}

// Where the hub cannot be reached at all, that is known after a few tries.
Result<FetchReply> HubClient::first_ask(const std::string& what, const std::string& url) {
  const int tries = std::min(options_.most_tries, 4);
  auto reply = ask(what, tries, [&] { return http_.get(url, kMaxListingBytes); });
  if (!reply && reply.error().kind == ErrorKind::kUnavailable) {
    reply.error().message +=
        "; HF_ENDPOINT names a mirror where the hub cannot be reached, and a folder on disk can "
        "be served by its path";
  }
  return reply;
}

Result<HubListing> HubClient::list(const std::string& revision) {
  std::string escaped;  // a slash of "refs/pr/1" is part of one segment here
  for (const char c : revision) escaped += c == '/' ? std::string("%2F") : std::string(1, c);
  const std::string url = fmt::format("{}/api/models/{}/revision/{}?blobs=true", options_.endpoint,
                                      repository_, escaped);
  const std::string what = repository_ + (revision == "main" ? "" : " at " + revision);
  M2_ASSIGN(const FetchReply reply, first_ask(what, url));
  if (reply.status != 200) {
    return tl::unexpected(status_error(reply, what, !options_.token.empty()));
  }
  const auto model = json::parse(reply.body);
  const std::string* commit = model ? text_of(model->find("sha")) : nullptr;
  const json::Value* siblings = model ? model->find("siblings") : nullptr;
  if (!commit || !is_commit(*commit) || !siblings || !siblings->is_array() ||
      siblings->as_array().size() > kMaxFiles) {
    return fail(ErrorKind::kUnavailable, "HF_ENDPOINT",
                "{} does not answer as the hub does: no commit and list of files for {}",
                options_.endpoint, what);
  }
  HubListing listing{*commit, {}, read_licence(*model)};
  for (const json::Value& entry : siblings->as_array()) {
    HubFile file;
    if (read_file_entry(entry, file)) listing.files.push_back(std::move(file));
  }
  return listing;
}

Status HubClient::look_up(const std::string& commit, HubFile& file) {
  const std::string url = resolve_url(commit, file.name);
  const std::string what = repository_ + "/" + file.name;
  M2_ASSIGN(const FetchReply reply,
            ask(what, options_.most_tries, [&] { return http_.head(url); }));
  if (reply.status >= 400) {
    return tl::unexpected(status_error(reply, what, !options_.token.empty()));
  }
  const std::string* told = reply.header("x-repo-commit");
  if (told && is_commit(*told) && *told != commit) {
    return fail(ErrorKind::kUnavailable, "HF_ENDPOINT", "{}: asked for commit {}, got {}", what,
                commit, *told);
  }
  const bool away = reply.status >= 300;
  const std::string* linked = reply.header("x-linked-etag");
  const std::string* plain = reply.header("etag");
  const std::string etag = linked ? bare_etag(*linked) : plain ? bare_etag(*plain) : "";
  if (is_blob_name(etag)) {
    // The listing's hash and this one differ where a mirror mixes states: neither is to be trusted.
    if (!file.blob.empty() && file.blob.size() == etag.size() && file.blob != etag) {
      return fail(ErrorKind::kUnavailable, "HF_ENDPOINT",
                  "{}: the hub names two hashes, {} in its list and {} with the file", what,
                  file.blob, etag);
    }
    if (file.blob.empty()) file.blob = etag;
  }
  if (file.blob.empty()) {
    return fail(ErrorKind::kUnavailable, "HF_ENDPOINT",
                "{}: {} tells no hash of it (no ETag), so it could not be checked", what,
                options_.endpoint);
  }
  if (file.size < 0) file.size = reply.number("x-linked-size").value_or(-1);
  if (file.size < 0 && !away) file.size = reply.number("content-length").value_or(-1);
  const std::string* location = reply.header("location");
  file.url = away && location ? *location : reply.url;
  return {};
}

Result<std::string> HubClient::small_file(const std::string& commit, const HubFile& file,
                                          size_t max_bytes) {
  // From the hub's own URL each time: a signed one may have expired since.
  const std::string url = resolve_url(commit, file.name);
  const std::string what = repository_ + "/" + file.name;
  std::string got;
  // Twice: a damaged answer may have been one connection's.
  for (int i = 0; i < 2; ++i) {
    M2_ASSIGN(const FetchReply reply,
              ask(what, options_.most_tries, [&] { return http_.get(url, max_bytes); }));
    if (reply.status != 200) {
      return tl::unexpected(status_error(reply, what, !options_.token.empty()));
    }
    Digest digest(file.blob, static_cast<int64_t>(reply.body.size()));
    digest.update(std::as_bytes(std::span(reply.body)));
    got = digest.hex();
    if (got == file.blob) return reply.body;
  }
  return fail(ErrorKind::kUnavailable, "model",
              "{}: its bytes are not those that the hub names: hash {}, must be {}", what, got,
              file.blob);
}

}  // namespace m2
