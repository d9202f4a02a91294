#include "server/server.h"

#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "base/log.h"
#include "server/http/http_server.h"
#include "server/openai/api.h"
#include "server/router.h"
#include "server/server_metrics.h"
#include "server/service.h"

namespace m2 {
namespace {

constexpr auto kFlushTime = std::chrono::seconds(1);  // for replies that are on their way at stop()
constexpr auto kStopTime = std::chrono::minutes(1);  // far more than ending the open requests takes
constexpr auto kIdlePoll = std::chrono::milliseconds(5);

Status check_options(const ServerOptions& options) {
  if (options.served_names.empty()) {
    return invalid("served-model-name", "a model must be served under a name");
  }
  if (options.io_threads < 1 || options.io_threads > 4) {
    return invalid("io_threads", "io_threads must be in [1, 4], got {}", options.io_threads);
  }
  if (options.stream_interval < 1) {
    return invalid("stream-interval", "--stream-interval must be at least 1, got {}",
                   options.stream_interval);
  }
  for (const std::string& key : options.api_keys) {
    if (key.empty()) return invalid("api-key", "--api-key must not be empty");
  }
  return {};
}

HttpOptions http_options(const ServerOptions& options) {
  HttpOptions out;
  out.host = options.host;
  out.port = options.port;
  out.uds = options.uds;
  out.ssl_certfile = options.ssl_certfile;
  out.ssl_keyfile = options.ssl_keyfile;
  out.ssl_ciphers = options.ssl_ciphers;
  out.ssl_ca_certs = options.ssl_ca_certs;
  out.ssl_cert_reqs = options.ssl_cert_reqs;
  out.io_threads = options.io_threads;
  out.ping_interval = options.ping_interval;
  out.limits = options.limits;
  return out;
}

}  // namespace

class Server::Impl {
 public:
  explicit Impl(ServerOptions options)
      : options_(std::move(options)),
        metrics_(options_.served_names[0]),
        router_(options_, metrics_) {}

  ~Impl() { stop(); }

  Status make_http() {
    M2_ASSIGN(http_, HttpServer::create(http_options(options_), router_));
    return {};
  }
  Status start() { return http_->start(); }
  Status open(ServerModel model);
  void serve(std::vector<Engine*> engines);
  bool wait_idle(std::chrono::milliseconds timeout) const;
  void stop();

  HttpServer& http() { return *http_; }
  Service& service() { return *service_; }

 private:
  void log_stats();

  const ServerOptions options_;
  ServerMetrics metrics_;
  Router router_;
  ServerModel model_;
  std::unique_ptr<HttpServer> http_;  // outlives all that writes replies
  std::unique_ptr<Service> service_;  // none before open(), nor the next
  std::unique_ptr<OpenAiApi> openai_;

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread stats_thread_;
};

Status Server::Impl::open(ServerModel model) {
  if (!model.tokenizer) return invalid("tokenizer", "the server needs a tokenizer");
  model_ = std::move(model);
  service_ = std::make_unique<Service>(options_, model_, metrics_);
  openai_ = std::make_unique<OpenAiApi>(options_, model_, *service_);
  router_.open(*service_, *openai_);
  return {};
}

void Server::Impl::serve(std::vector<Engine*> engines) {
  service_->serve(std::move(engines));
  if (options_.log_stats) stats_thread_ = std::thread([this] { log_stats(); });
}

void Server::Impl::log_stats() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, options_.stats_interval, [this] { return stopping_; })) {
    lock.unlock();
    const std::string line = metrics_.stats_line();
    if (!line.empty()) log_info("{}", line);
    lock.lock();
  }
}

bool Server::Impl::wait_idle(std::chrono::milliseconds timeout) const {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (service_ && !service_->idle()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(kIdlePoll);
  }
  return true;
}

void Server::Impl::stop() {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
  }
  wake_.notify_all();
  if (stats_thread_.joinable()) stats_thread_.join();
  // Open sessions end; then the sockets; then what came through them between the two; then the last
  // use of the engines.
  if (service_) service_->stop();
  wait_idle(kStopTime);
  if (http_) http_->stop(kFlushTime);
  wait_idle(kStopTime);
  if (service_) service_->join();
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::create(ServerOptions options) {
  M2_TRY(check_options(options));
  auto impl = std::make_unique<Impl>(std::move(options));
  M2_TRY(impl->make_http());
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Status Server::start() { return impl_->start(); }
uint16_t Server::port() const { return impl_->http().port(); }
std::string Server::address() const { return impl_->http().address(); }
Status Server::open(ServerModel model) { return impl_->open(std::move(model)); }
OutputSink& Server::sink() { return impl_->service(); }
void Server::serve(std::vector<Engine*> engines) { impl_->serve(std::move(engines)); }
void Server::drain() { impl_->service().drain(); }
bool Server::wait_idle(std::chrono::milliseconds timeout) { return impl_->wait_idle(timeout); }
void Server::stop() { impl_->stop(); }

}  // namespace m2
