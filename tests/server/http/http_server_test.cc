#include "server/http/http_server.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "tests/server/raw_client.h"
#include "tests/temporary_folder.h"

namespace m2 {
namespace {

using test::ask;
using test::get;
using test::post;
using test::RawClient;
using test::RawReply;

// Answers with what it was asked, or as the path says.
class EchoHandler : public HttpHandler {
 public:
  std::optional<HttpReply> check_head(const HttpRequest& head) override {
    if (head.path == "/forbidden") return refusal(401, "no");
    return std::nullopt;
  }
  void handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) override {
    ++handled;
    if (request.path == "/stream") {
      exchange->open_stream({200, "text/event-stream", "", {}});
      for (int i = 0; i < 3; ++i) exchange->write(fmt::format("data: {}\n\n", i));
      return exchange->finish();
    }
    if (request.path == "/hold" || request.path == "/hold-stream") {
      if (request.path == "/hold-stream") {
        exchange->open_stream({200, "text/event-stream", "", {}});
        exchange->write("data: begun\n\n");
      }
      exchange->on_gone([this] { ++gone; });
      std::lock_guard lock(mutex);
      held.push_back(std::move(exchange));
      return;
    }
    exchange->reply(
        {200,
         "text/plain",
         fmt::format("{} {}?{} {}", request.method, request.path, request.query, request.body),
         {}});
  }
  HttpFields common_fields(const HttpRequest&) override { return {{"X-Common", "yes"}}; }
  HttpReply refusal(int status, std::string message) override {
    return {status, "text/plain", std::move(message), {}};
  }

  std::atomic<int> handled{0}, gone{0};
  std::mutex mutex;
  std::vector<std::shared_ptr<HttpExchange>> held;
};

class HttpTest : public ::testing::Test {
 protected:
  void start(HttpOptions options = {}) {
    options.host = "127.0.0.1";
    auto server = HttpServer::create(std::move(options), handler_);
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
    const Status started = server_->start();
    ASSERT_TRUE(started) << started.error().message;
  }
  void TearDown() override {
    if (server_) server_->stop(std::chrono::milliseconds(0));
  }
  uint16_t port() const { return server_->port(); }
  void wait_for(const std::atomic<int>& value, int least) {
    for (int i = 0; i < 2000 && value < least; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    EXPECT_GE(value, least);
  }

  EchoHandler handler_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpTest, AnswersAndKeepsTheConnection) {
  start();
  RawClient client(port());
  for (int i = 0; i < 3; ++i) {
    client.send(post("/a?b=c", fmt::format("body {}", i)));
    const RawReply reply = client.read_reply();
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, fmt::format("POST /a?b=c body {}", i));
    EXPECT_EQ(reply.field("x-common"), "yes");
    EXPECT_EQ(reply.field("connection"), "keep-alive");
  }
}

TEST_F(HttpTest, PipelinedRequestsAreAnsweredInOrder) {
  start();
  RawClient client(port());
  client.send(post("/1", "a") + get("/2") + get("/stream") + get("/3", "Connection: close\r\n"));
  EXPECT_EQ(client.read_reply().body, "POST /1? a");
  EXPECT_EQ(client.read_reply().body, "GET /2? ");
  EXPECT_EQ(client.read_reply().body, "data: 0\n\ndata: 1\n\ndata: 2\n\n");
  const RawReply last = client.read_reply();
  EXPECT_EQ(last.body, "GET /3? ");
  EXPECT_EQ(last.field("connection"), "close");
  EXPECT_TRUE(client.closed());
}

TEST_F(HttpTest, RequestsMayComeByteByByte) {
  start();
  RawClient client(port());
  for (const char c : post("/slow", "0123456789")) client.send(std::string_view(&c, 1));
  EXPECT_EQ(client.read_reply().body, "POST /slow? 0123456789");
}

TEST_F(HttpTest, ChunkedBodies) {
  start();
  const RawReply reply = ask(port(),
                             "POST /c HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
                             "4\r\nabcd\r\n3;x=y\r\nefg\r\n0\r\nTrailer: z\r\n\r\n");
  EXPECT_EQ(reply.body, "POST /c? abcdefg");
}

TEST_F(HttpTest, Expect100IsAnsweredBeforeTheBody) {
  start();
  RawClient client(port());
  client.send("POST /e HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.read_reply().status, 100);
  client.send("ok");
  EXPECT_EQ(client.read_reply().body, "POST /e? ok");
}

TEST_F(HttpTest, Http10StreamsEndWithTheConnection) {
  start();
  RawClient client(port());
  client.send("GET /stream HTTP/1.0\r\n\r\n");
  const RawReply reply = client.read_reply();
  EXPECT_EQ(reply.body, "data: 0\n\ndata: 1\n\ndata: 2\n\n");
  EXPECT_EQ(reply.field("transfer-encoding"), "");
}

TEST_F(HttpTest, HeadHasNoBody) {
  start();
  RawClient client(port());
  client.send("HEAD /x HTTP/1.1\r\nHost: t\r\n\r\n" + get("/y"));
  const RawReply head = client.read_reply(true);
  EXPECT_EQ(head.field("content-length"), "9");
  EXPECT_EQ(client.read_reply().body, "GET /y? ");
}

TEST_F(HttpTest, DoubtfulRequestsAreRefused) {
  start();
  const std::pair<std::string, int> cases[] = {
      {"GARBAGE\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
      {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
       400},
      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
       400},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 400},
      {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\nContent-Length: 0\r\n\r\n", 417},
      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
       "fffffffffffffffff\r\nabc\r\n",
       400},
      {"GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(70'000, 'x') + "\r\n\r\n", 431},
      {"GET /" + std::string(70'000, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n", 431},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n", 413},
  };
  for (const auto& [request, status] : cases) {
    RawClient client(port());
    client.send(request);
    EXPECT_EQ(client.read_reply().status, status) << request.substr(0, 120);
    EXPECT_TRUE(client.closed()) << request.substr(0, 120);
  }
  EXPECT_EQ(handler_.handled, 0);
}

TEST_F(HttpTest, ABodyOverItsLimitIsRefusedWhileItComes) {
  HttpOptions options;
  options.limits.body_bytes = 1000;
  start(std::move(options));
  std::string request = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 20; ++i) request += "64\r\n" + std::string(100, 'x') + "\r\n";
  EXPECT_EQ(ask(port(), request).status, 413);
}

TEST_F(HttpTest, AllBodiesTogetherAreBounded) {
  HttpOptions options;
  options.limits.open_body_bytes = 50'000;
  start(std::move(options));
  RawClient first(port());
  first.send(post("/hold", std::string(40'000, 'x')));
  wait_for(handler_.handled, 1);
  // The handler has let the first body go: its share is free again.
  EXPECT_EQ(ask(port(), post("/a", std::string(40'000, 'x'))).status, 200);
  RawClient half(port());
  half.send("POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n");
  half.send(std::string(45'000, 'x'));
  half.send(std::string(10'000, 'x'));
  EXPECT_EQ(half.read_reply().status, 503);
}

TEST_F(HttpTest, AHeadIsRefusedBeforeItsBodyIsRead) {
  start();
  RawClient client(port());
  client.send("POST /forbidden HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc");
  const RawReply reply = client.read_reply();
  EXPECT_EQ(reply.status, 401);
  EXPECT_EQ(reply.field("connection"), "close");
  // Without a body the connection goes on.
  RawClient other(port());
  other.send(get("/forbidden") + get("/fine"));
  EXPECT_EQ(other.read_reply().status, 401);
  EXPECT_EQ(other.read_reply().status, 200);
  // A HEAD is answered by a head alone, refused or not.
  RawClient head(port());
  head.send("HEAD /forbidden HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc");
  const std::string all = head.read_until("no such text");
  EXPECT_TRUE(all.ends_with("\r\n\r\n")) << all;
}

TEST_F(HttpTest, SlowHeadsAndBodiesTimeOut) {
  HttpOptions options;
  options.limits.header_timeout = std::chrono::milliseconds(50);
  options.limits.body_timeout = std::chrono::milliseconds(50);
  start(std::move(options));
  RawClient head(port());
  head.send("GET / HT");
  EXPECT_EQ(head.read_reply().status, 408);
  EXPECT_TRUE(head.closed());
  RawClient body(port());
  body.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_EQ(body.read_reply().status, 408);
}

TEST_F(HttpTest, IdleConnectionsAreClosed) {
  HttpOptions options;
  options.limits.keep_alive_timeout = std::chrono::milliseconds(50);
  start(std::move(options));
  RawClient client(port());
  EXPECT_TRUE(client.closed());
}

TEST_F(HttpTest, AClientThatLeavesIsNoticed) {
  start();
  {
    RawClient whole(port()), stream(port());
    whole.send(get("/hold"));
    stream.send(get("/hold-stream"));
    stream.read_until("begun");
    wait_for(handler_.handled, 2);
    EXPECT_EQ(handler_.gone, 0);
  }
  wait_for(handler_.gone, 2);
}

TEST_F(HttpTest, AClientThatSendsFarAheadIsStillSeenLeaving) {
  start();
  {
    RawClient client(port());
    client.send(get("/hold"));
    wait_for(handler_.handled, 1);
    client.send(post("/next", std::string(1 << 20, 'x')));
    EXPECT_EQ(handler_.gone, 0);
  }
  wait_for(handler_.gone, 1);
  EXPECT_EQ(handler_.handled, 1);
}

TEST_F(HttpTest, ConnectionsAreBounded) {
  HttpOptions options;
  options.limits.max_connections = 4;
  options.io_threads = 2;
  start(std::move(options));
  std::vector<RawClient> clients;
  for (int i = 0; i < 20; ++i) clients.emplace_back(port());
  int answered = 0;
  for (RawClient& client : clients) {
    client.send(get("/x"));
    answered += client.read_reply().status == 200;
  }
  EXPECT_EQ(answered, 4);
  clients.clear();
  // The places are free again.
  for (int i = 0; i < 2000 && ask(port(), get("/y")).status != 200; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(ask(port(), get("/y")).status, 200);
}

TEST_F(HttpTest, PingsWhileNothingIsSent) {
  HttpOptions options;
  options.ping_interval = std::chrono::milliseconds(20);
  start(std::move(options));
  RawClient client(port());
  client.send(get("/hold-stream"));
  EXPECT_NE(client.read_until(": ping\n\n").find("data: begun"), std::string::npos);
}

TEST_F(HttpTest, AReaderThatFallsBehindIsDropped) {
  HttpOptions options;
  options.limits.stream_backlog_bytes = 100'000;
  start(std::move(options));
  RawClient slow(port());
  slow.set_receive_buffer(4096);
  slow.send(get("/hold-stream"));
  wait_for(handler_.handled, 1);
  std::shared_ptr<HttpExchange> exchange;
  {
    std::lock_guard lock(handler_.mutex);
    exchange = handler_.held.at(0);
  }
  // Far more than the sockets' buffers and the backlog hold.
  const std::string event = "data: " + std::string(10'000, 'x') + "\n\n";
  int written = 0;
  while (written < 10'000 && exchange->write(event)) {
    ++written;
    if (written % 8 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_LT(written, 10'000);
  EXPECT_EQ(handler_.gone, 1);
  EXPECT_TRUE(slow.closed());
}

// A long prompt that is echoed with its logprobs is one event of megabytes.
TEST_F(HttpTest, EventsLargerThanTheBacklogReachTheirReader) {
  HttpOptions options;
  options.limits.stream_backlog_bytes = 1000;
  start(std::move(options));
  RawClient client(port());
  client.send(get("/hold-stream"));
  wait_for(handler_.handled, 1);
  std::shared_ptr<HttpExchange> exchange;
  {
    std::lock_guard lock(handler_.mutex);
    exchange = handler_.held.at(0);
  }
  // More than the sockets' buffers hold: one of them still waits when the small one comes.
  const std::string large = "data: " + std::string(16 << 20, 'x') + "\n\n";
  EXPECT_TRUE(exchange->write(large));
  EXPECT_TRUE(exchange->write(large));
  EXPECT_TRUE(exchange->write("data: last\n\n"));
  exchange->finish();
  EXPECT_TRUE(client.read_reply().body.ends_with("x\n\ndata: last\n\n"));
}

TEST_F(HttpTest, AReaderThatReadsNothingIsDropped) {
  HttpOptions options;
  options.limits.write_timeout = std::chrono::milliseconds(50);
  options.limits.stream_backlog_bytes = 64u << 20;
  start(std::move(options));
  RawClient slow(port());
  slow.set_receive_buffer(4096);
  slow.send(get("/hold-stream"));
  wait_for(handler_.handled, 1);
  std::shared_ptr<HttpExchange> exchange;
  {
    std::lock_guard lock(handler_.mutex);
    exchange = handler_.held.at(0);
  }
  exchange->write(std::string(32u << 20, 'x'));
  wait_for(handler_.gone, 1);
}

TEST_F(HttpTest, StopLetsRepliesUnderWayGoOut) {
  start();
  RawClient client(port()), idle(port());
  client.send(get("/hold-stream"));
  client.read_until("begun");
  std::thread stopping([&] { server_->stop(std::chrono::seconds(20)); });
  EXPECT_TRUE(idle.closed());
  {
    std::lock_guard lock(handler_.mutex);
    handler_.held.at(0)->write("data: last\n\n");
    handler_.held.at(0)->finish();
  }
  EXPECT_NE(client.read_until("data: last\n\n\r\n0\r\n\r\n").find("last"), std::string::npos);
  stopping.join();
  EXPECT_FALSE(RawClient(port()).connected());
}

TEST_F(HttpTest, AUnixSocket) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "socket";
  HttpOptions options;
  options.uds = path;
  start(options);
  RawClient client(path);
  client.send(get("/u"));
  EXPECT_EQ(client.read_reply().body, "GET /u? ");
  auto second = HttpServer::create(options, handler_);
  ASSERT_TRUE(second);
  EXPECT_FALSE((*second)->start());
}

TEST_F(HttpTest, APortInUseIsSaid) {
  start();
  HttpOptions options;
  options.host = "127.0.0.1";
  options.port = port();
  auto second = HttpServer::create(options, handler_);
  ASSERT_TRUE(second);
  const Status started = (*second)->start();
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().message.find("in use"), std::string::npos);
}

}  // namespace
}  // namespace m2
