#include "loader/hub/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace m2 {
namespace {

constexpr int kMaxRedirects = 10;
constexpr size_t kMaxErrorBytes = 4096;
constexpr size_t kMaxHeaderBytes = size_t{256} << 10;  // of one answer
constexpr long kLeastBytesASecond = 1024;

struct UrlParts {
  UrlParts() : handle(curl_url()) {}
  ~UrlParts() { curl_url_cleanup(handle); }
  UrlParts(const UrlParts&) = delete;
  UrlParts& operator=(const UrlParts&) = delete;

  std::string get(CURLUPart part, unsigned flags = 0) const {
    char* text = nullptr;
    std::string out;
    if (curl_url_get(handle, part, &text, flags) == CURLUE_OK) out = text;
    curl_free(text);
    return out;
  }

  CURLU* handle;
};

// "https://host:443", or "" for what is no http(s) URL.
std::string origin_of(const std::string& url) {
  UrlParts parts;
  if (curl_url_set(parts.handle, CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) return "";
  const std::string scheme = parts.get(CURLUPART_SCHEME);
  if (scheme != "https" && scheme != "http") return "";
  std::string host = parts.get(CURLUPART_HOST);
  for (char& c : host) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return scheme + "://" + host + ":" + parts.get(CURLUPART_PORT, CURLU_DEFAULT_PORT);
}

// `location` as seen from `base`; "" when it is no URL.
std::string resolve(const std::string& base, const std::string& location) {
  UrlParts parts;
  if (curl_url_set(parts.handle, CURLUPART_URL, base.c_str(), 0) != CURLUE_OK) return "";
  if (curl_url_set(parts.handle, CURLUPART_URL, location.c_str(), 0) != CURLUE_OK) return "";
  return parts.get(CURLUPART_URL);
}

bool is_redirect(long status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

void initialise_curl() {
  // Not thread-safe by itself in older versions; a static makes it happen once.
  static const CURLcode done = curl_global_init(CURL_GLOBAL_DEFAULT);
  (void)done;
}

}  // namespace

const std::string* FetchReply::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? nullptr : &found->second;
}

std::optional<int64_t> FetchReply::number(const std::string& name) const {
  const std::string* text = header(name);
  int64_t value = 0;
  if (!text || text->empty()) return std::nullopt;
  const char* end = text->data() + text->size();
  const auto [stop, error] = std::from_chars(text->data(), end, value);
  if (error != std::errc{} || stop != end || value < 0) return std::nullopt;
  return value;
}

bool same_origin(const std::string& a, const std::string& b) {
  const std::string origin = origin_of(a);
  return !origin.empty() && origin == origin_of(b);
}

class FetchClient::Impl {
 public:
  explicit Impl(FetchOptions options) : options_(std::move(options)) {
    initialise_curl();
    curl_ = curl_easy_init();
  }
  ~Impl() { curl_easy_cleanup(curl_); }

  void drop_connections() {
    curl_easy_cleanup(curl_);
    curl_ = curl_easy_init();
  }

  // What one request is to do, and what came of it.
  struct Request {
    bool head = false;
    bool follow_anywhere = true;
    int64_t begin = 0, end = 0;
    size_t max_body_bytes = kMaxErrorBytes;
    const OnHead* on_head = nullptr;
    const OnBytes* on_bytes = nullptr;
  };

  Result<FetchReply> perform(std::string url, const Request& request) {
    std::map<std::string, std::string> told;  // by answers that led on
    for (int i = 0; i <= kMaxRedirects; ++i) {
      M2_TRY(one(url, request));
      reply_.headers.insert(told.begin(), told.end());
      const std::string* location = reply_.header("location");
      if (!is_redirect(reply_.status) || !location) return std::move(reply_);
      const std::string next = resolve(url, *location);
      if (origin_of(next).empty()) {
        return invalid("model", "{} leads to what is no http or https URL", origin_of(url));
      }
      if (url.starts_with("https:") && next.starts_with("http:")) {
        return invalid("model", "{} leads to {}, without TLS: not followed", origin_of(url),
                       origin_of(next));
      }
      if (!request.follow_anywhere && !same_origin(next, options_.endpoint)) {
        reply_.headers["location"] = next;
        return std::move(reply_);
      }
      for (const char* name : {"x-repo-commit", "x-linked-etag", "x-linked-size"}) {
        if (const std::string* value = reply_.header(name)) told[name] = *value;
      }
      url = next;
    }
    return invalid("model", "{} leads on more than {} times", origin_of(url), kMaxRedirects);
  }

 private:
  // One request without redirects.
  Status one(const std::string& url, const Request& request) {
    reply_ = {};
    reply_.url = url;
    request_ = &request;
    failed_ = {};
    head_seen_ = false;
    header_bytes_ = 0;
    set_options(url, request);
    curl_slist* headers = nullptr;
    if (!options_.token.empty() && same_origin(url, options_.endpoint)) {
      headers = curl_slist_append(headers, ("Authorization: Bearer " + options_.token).c_str());
    }
    headers = curl_slist_append(headers, "Accept-Encoding: identity");
    curl_easy_setopt(curl_, CURLOPT_HTTPHEADER, headers);
    const CURLcode code = curl_easy_perform(curl_);
    curl_slist_free_all(headers);
    curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &reply_.status);
    M2_TRY(failed_);
    if (code == CURLE_OK) return finish_head();
    if (code == CURLE_ABORTED_BY_CALLBACK) {
      return fail(ErrorKind::kInternal, "", "stopped");
    }
    // A URL may carry a signature: only its origin is shown.
    return fail(ErrorKind::kUnavailable, "model", "{}: {}", origin_of(url),
                code == CURLE_OPERATION_TIMEDOUT ? "no answer in time" : curl_easy_strerror(code));
  }

  void set_options(const std::string& url, const Request& request) {
    curl_easy_reset(curl_);  // keeps connections
    curl_easy_setopt(curl_, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl_, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl_, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl_, CURLOPT_USERAGENT, "m2");
    curl_easy_setopt(curl_, CURLOPT_CONNECTTIMEOUT, long{options_.connect_timeout_s});
    curl_easy_setopt(curl_, CURLOPT_LOW_SPEED_LIMIT, kLeastBytesASecond);
    curl_easy_setopt(curl_, CURLOPT_LOW_SPEED_TIME, long{options_.stall_timeout_s});
    curl_easy_setopt(curl_, CURLOPT_BUFFERSIZE, 512L << 10);
    // libcurl leaves HTTP_PROXY in capitals alone; the Hugging Face libraries read it.
    if (!options_.http_proxy.empty() && url.starts_with("http:")) {
      curl_easy_setopt(curl_, CURLOPT_PROXY, options_.http_proxy.c_str());
    }
    if (!options_.ca_bundle.empty()) {
      curl_easy_setopt(curl_, CURLOPT_CAINFO, options_.ca_bundle.c_str());
    }
    if (request.head) curl_easy_setopt(curl_, CURLOPT_NOBODY, 1L);
    if (request.end > 0) {
      const std::string range = fmt::format("{}-{}", request.begin, request.end - 1);
      curl_easy_setopt(curl_, CURLOPT_RANGE, range.c_str());
    }
    curl_easy_setopt(curl_, CURLOPT_HEADERFUNCTION, &Impl::on_header);
    curl_easy_setopt(curl_, CURLOPT_HEADERDATA, this);
    curl_easy_setopt(curl_, CURLOPT_WRITEFUNCTION, &Impl::on_write);
    curl_easy_setopt(curl_, CURLOPT_WRITEDATA, this);
    curl_easy_setopt(curl_, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl_, CURLOPT_XFERINFOFUNCTION, &Impl::on_progress);
    curl_easy_setopt(curl_, CURLOPT_XFERINFODATA, this);
  }

  static int on_progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    const std::atomic<bool>* cancelled = static_cast<Impl*>(self)->options_.cancelled;
    return cancelled && *cancelled ? 1 : 0;
  }

  static size_t on_header(char* data, size_t size, size_t count, void* self) {
    const std::string_view line(data, size * count);
    return static_cast<Impl*>(self)->take_header(line) ? line.size() : 0;
  }

  bool take_header(std::string_view line) {
    header_bytes_ += line.size();
    if (header_bytes_ > kMaxHeaderBytes) return false;
    if (line.starts_with("HTTP/")) {  // of a proxy, a "100 Continue", or the answer itself
      reply_.headers.clear();
      return true;
    }
    const size_t colon = line.find(':');
    if (colon == line.npos) return true;
    std::string name(line.substr(0, colon));
    for (char& c : name) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    line.remove_prefix(colon + 1);
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
    while (!line.empty() && static_cast<unsigned char>(line.back()) <= ' ') line.remove_suffix(1);
    reply_.headers[name] = line;
    return true;
  }

  static size_t on_write(char* data, size_t size, size_t count, void* self) {
    const size_t bytes = size * count;
    return static_cast<Impl*>(self)->take({data, bytes}) ? bytes : 0;
  }

  // Before the first byte, or at the end of an answer without any.
  Status finish_head() {
    if (head_seen_) return {};
    head_seen_ = true;
    curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &reply_.status);
    const bool redirected = is_redirect(reply_.status) && reply_.header("location");
    if (redirected || !request_->on_head) return {};
    return (*request_->on_head)(reply_);
  }

  bool take(std::string_view bytes) {
    failed_ = finish_head();
    if (!failed_) return false;
    const bool good = reply_.status == 200 || reply_.status == 206;
    if (good && request_->on_bytes) {
      failed_ = (*request_->on_bytes)(std::as_bytes(std::span(bytes)));
      return failed_.has_value();
    }
    if (!good) {
      reply_.body += bytes.substr(0, kMaxErrorBytes - std::min(kMaxErrorBytes, reply_.body.size()));
      return true;
    }
    reply_.body += bytes;
    if (reply_.body.size() <= request_->max_body_bytes) return true;
    failed_ = fail(ErrorKind::kTooLarge, "model", "{} answers more than {} bytes",
                   origin_of(reply_.url), request_->max_body_bytes);
    return false;
  }

  FetchOptions options_;
  CURL* curl_ = nullptr;
  FetchReply reply_;
  const Request* request_ = nullptr;
  Status failed_;  // of a callback
  bool head_seen_ = false;
  size_t header_bytes_ = 0;
};

FetchClient::FetchClient(FetchOptions options)
    : impl_(std::make_unique<Impl>(std::move(options))) {}
FetchClient::~FetchClient() = default;

void FetchClient::drop_connections() { impl_->drop_connections(); }

Result<FetchReply> FetchClient::head(const std::string& url) {
  Impl::Request request;
  request.head = true;
  request.follow_anywhere = false;
  return impl_->perform(url, request);
}

Result<FetchReply> FetchClient::get(const std::string& url, size_t max_bytes) {
  Impl::Request request;
  request.max_body_bytes = max_bytes;
  return impl_->perform(url, request);
}

Result<FetchReply> FetchClient::stream(const std::string& url, int64_t begin, int64_t end,
                                       const OnHead& on_head, const OnBytes& on_bytes) {
  Impl::Request request;
  request.begin = begin;
  request.end = end;
  request.on_head = &on_head;
  request.on_bytes = &on_bytes;
  return impl_->perform(url, request);
}

}  // namespace m2
