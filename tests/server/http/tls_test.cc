// The server under TLS, with a certificate made for the test.
#include "server/http/tls.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <string>

#include "server/http/http_server.h"
#include "tests/temporary_folder.h"

namespace m2 {
namespace {

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* value) const {
    Free(value);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;

void write_key(const std::string& path, EVP_PKEY* key) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(file);
}

// A key and a certificate that it has signed itself.
void write_pair(const std::string& key_path, const std::string& certificate_path) {
  const Key key(EVP_EC_gen("P-256"));
  const Certificate certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  X509_sign(certificate.get(), key.get(), EVP_sha256());
  write_key(key_path, key.get());
  std::FILE* file = std::fopen(certificate_path.c_str(), "w");
  PEM_write_X509(file, certificate.get());
  std::fclose(file);
}

class Answers : public HttpHandler {
 public:
  std::optional<HttpReply> check_head(const HttpRequest&) override { return std::nullopt; }
  void handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) override {
    exchange->open_stream({200, "text/event-stream", "", {}});
    for (int i = 0; i < 3; ++i) exchange->write("data: " + request.body + "\n\n");
    exchange->finish();
  }
  HttpFields common_fields(const HttpRequest&) override { return {}; }
  HttpReply refusal(int status, std::string message) override {
    return {status, "text/plain", std::move(message), {}};
  }
};

class TlsTest : public ::testing::Test {
 protected:
  void SetUp() override { write_pair(path("key.pem"), path("cert.pem")); }
  std::string path(const char* name) const { return folder_ / name; }

  const test::TemporaryFolder folder_;
};

TEST_F(TlsTest, FilesAreChecked) {
  EXPECT_TRUE(TlsContext::load({path("cert.pem"), path("key.pem")}));
  EXPECT_FALSE(TlsContext::load({path("absent.pem"), path("key.pem")}));
  std::ofstream(path("junk.pem")) << "junk";
  const auto junk = TlsContext::load({path("cert.pem"), path("junk.pem")});
  ASSERT_FALSE(junk);
  EXPECT_NE(junk.error().message.find("junk.pem"), std::string::npos);
  write_pair(path("other-key.pem"), path("other-cert.pem"));
  EXPECT_FALSE(TlsContext::load({path("cert.pem"), path("other-key.pem")}));
}

TEST_F(TlsTest, CiphersAndClientCertificatesAreChecked) {
  TlsOptions options{path("cert.pem"), path("key.pem"), "ECDHE-ECDSA-AES256-GCM-SHA384"};
  EXPECT_TRUE(TlsContext::load(options));
  options.ca_file = path("cert.pem");
  options.client_certificates = 2;
  EXPECT_TRUE(TlsContext::load(options));
  options.ca_file = path("key.pem");
  const auto no_certificate = TlsContext::load(options);
  ASSERT_FALSE(no_certificate);
  EXPECT_NE(no_certificate.error().message.find("key.pem"), std::string::npos);
  options.ciphers = "no-such-cipher";
  EXPECT_EQ(TlsContext::load(options).error().field, "ssl-ciphers");
}

TEST_F(TlsTest, ARequestAndItsStream) {
  Answers answers;
  HttpOptions options;
  options.host = "127.0.0.1";
  options.ssl_certfile = path("cert.pem");
  options.ssl_keyfile = path("key.pem");
  auto server = HttpServer::create(options, answers);
  ASSERT_TRUE(server);
  ASSERT_TRUE((*server)->start());
  EXPECT_TRUE((*server)->address().starts_with("https://"));

  const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons((*server)->port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL* tls = SSL_new(context);
  SSL_set_fd(tls, descriptor);
  ASSERT_EQ(SSL_connect(tls), 1);
  // Larger than one TLS record, so that it comes in parts.
  const std::string body(50'000, 'x');
  const std::string request =
      "POST / HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body;
  ASSERT_EQ(SSL_write(tls, request.data(), static_cast<int>(request.size())),
            static_cast<int>(request.size()));
  std::string reply;
  char bytes[16384];
  for (int count; (count = SSL_read(tls, bytes, sizeof(bytes))) > 0;) {
    reply.append(bytes, static_cast<size_t>(count));
  }
  EXPECT_TRUE(reply.starts_with("HTTP/1.1 200 OK"));
  EXPECT_TRUE(reply.ends_with("\r\n0\r\n\r\n"));
  EXPECT_GT(reply.size(), 150'000u);
  EXPECT_EQ(SSL_get_shutdown(tls) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
  SSL_free(tls);
  SSL_CTX_free(context);
  ::close(descriptor);
}

}  // namespace
}  // namespace m2
