#include "cli/api_client.h"

#include <curl/curl.h>

#include <mutex>
#include <utility>

namespace m2::cli {
namespace {

constexpr size_t kMaxLineBytes = 16u << 20;
constexpr size_t kMaxBodyBytes = 64u << 20;

// The message of an error reply: {"error": {"message": …}}, else its text.
std::string error_message(long status, const std::string& body) {
  if (const auto parsed = json::parse(body)) {
    const json::Value* error = parsed->find("error");
    const json::Value* message = error ? error->find("message") : parsed->find("message");
    if (message && message->is_string()) return message->as_string();
  }
  return fmt::format("the server answered {}{}{}", status, body.empty() ? "" : ": ",
                     body.substr(0, 500));
}

// What the API's routes are added to. A server named without any path is one whose API lies where
// everybody's does.
std::string api_base(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  const size_t scheme = url.find("://");
  const size_t host = scheme == std::string::npos ? 0 : scheme + 3;
  return url.find('/', host) == std::string::npos ? url + "/v1" : url;
}

}  // namespace

bool SseReader::push(std::string_view bytes, const Sink& sink) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    line_ += bytes.substr(0, end);
    if (line_.size() > kMaxLineBytes) return false;
    if (end == std::string_view::npos) return true;
    bytes.remove_prefix(end + 1);
    if (line_.ends_with('\r')) line_.pop_back();
    std::string_view line = line_;
    if (line.starts_with("data:")) {
      line.remove_prefix(5);
      if (line.starts_with(' ')) line.remove_prefix(1);
      sink(line);
    }
    line_.clear();
  }
  return true;
}

class ApiClient::Impl {
 public:
  Impl(std::string url, std::string api_key) : url_(api_base(std::move(url))) {
    static std::once_flag once;
    std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
    curl_ = curl_easy_init();
    headers_ = curl_slist_append(headers_, "Content-Type: application/json");
    if (!api_key.empty()) {
      headers_ = curl_slist_append(headers_, ("Authorization: Bearer " + api_key).c_str());
    }
  }
  ~Impl() {
    curl_slist_free_all(headers_);
    curl_easy_cleanup(curl_);
  }

  // `body` null: a GET. Bytes of a 200 reply go to `sink`, when there is one; others are kept.
  Status perform(std::string_view path, const std::string* body, const OnEvent* on_event) {
    reply_.clear();
    reader_ = {};
    on_event_ = on_event;
    const std::string url = url_ + std::string(path);
    curl_easy_reset(curl_);
    curl_easy_setopt(curl_, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl_, CURLOPT_HTTPHEADER, headers_);
    curl_easy_setopt(curl_, CURLOPT_CONNECTTIMEOUT, 10L);
    curl_easy_setopt(curl_, CURLOPT_WRITEFUNCTION, &Impl::on_bytes);
    curl_easy_setopt(curl_, CURLOPT_WRITEDATA, this);
    if (body) {
      curl_easy_setopt(curl_, CURLOPT_POSTFIELDS, body->data());
      curl_easy_setopt(curl_, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body->size()));
    }
    const CURLcode code = curl_easy_perform(curl_);
    if (code != CURLE_OK) {
      return fail(ErrorKind::kUnavailable, "url", "{}: {}", url, curl_easy_strerror(code));
    }
    if (const long status = http_status(); status != 200) {
      return fail(ErrorKind::kInvalidArgument, "", "{}", error_message(status, reply_));
    }
    return {};
  }

  const std::string& reply() const { return reply_; }

 private:
  long http_status() const {
    long status = 0;
    curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &status);
    return status;
  }

  static size_t on_bytes(char* data, size_t size, size_t count, void* self) {
    const size_t bytes = size * count;
    return static_cast<Impl*>(self)->take({data, bytes}) ? bytes : 0;
  }

  bool take(std::string_view bytes) {
    if (!on_event_ || http_status() != 200) {
      reply_ += bytes;
      return reply_.size() <= kMaxBodyBytes;
    }
    return reader_.push(bytes, [&](std::string_view data) {
      if (data == "[DONE]") return;
      if (const auto event = json::parse(data)) (*on_event_)(*event);
    });
  }

  std::string url_;
  CURL* curl_ = nullptr;
  curl_slist* headers_ = nullptr;
  std::string reply_;
  SseReader reader_;
  const OnEvent* on_event_ = nullptr;
};

ApiClient::ApiClient(std::string url, std::string api_key)
    : impl_(std::make_unique<Impl>(std::move(url), std::move(api_key))) {}
ApiClient::~ApiClient() = default;

Result<json::Value> ApiClient::get(std::string_view path) {
  M2_TRY(impl_->perform(path, nullptr, nullptr));
  return json::parse(impl_->reply());
}

Status ApiClient::stream(std::string_view path, const json::Value& body, const OnEvent& on_event) {
  const std::string text = json::dump(body);
  Status failed;  // an error that came as an event, after the stream had begun
  const OnEvent checked = [&](const json::Value& event) {
    const json::Value* error = event.find("error");
    if (!error) return on_event(event);
    const json::Value* message = error->find("message");
    failed = fail(ErrorKind::kInternal, "", "{}",
                  message && message->is_string() ? message->as_string() : json::dump(*error));
  };
  M2_TRY(impl_->perform(path, &text, &checked));
  return failed;
}

Result<std::string> ApiClient::first_model() {
  M2_ASSIGN(const json::Value models, get("/models"));
  const json::Value* data = models.find("data");
  if (data && data->is_array() && !data->as_array().empty()) {
    const json::Value* id = data->as_array()[0].find("id");
    if (id && id->is_string()) return id->as_string();
  }
  return fail(ErrorKind::kNotFound, "model-name", "the server names no model");
}

}  // namespace m2::cli
