#include "loader/hub/digest.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/descriptor.h"

namespace m2 {
namespace {

EVP_MD_CTX* context_of(void* context) { return static_cast<EVP_MD_CTX*>(context); }

}  // namespace

void Digest::Free::operator()(void* context) const { EVP_MD_CTX_free(context_of(context)); }

Digest::Digest(std::string_view blob_name, int64_t size) : context_(EVP_MD_CTX_new()) {
  const bool git = blob_name.size() == 40;
  M2_CHECK(EVP_DigestInit_ex(context_of(context_.get()), git ? EVP_sha1() : EVP_sha256(), nullptr),
           "OpenSSL has no SHA-256 or SHA-1");
  if (!git) return;
  const std::string head = fmt::format("blob {}", size);
  update(std::as_bytes(std::span(head.c_str(), head.size() + 1)));  // with its zero
}

Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

void Digest::update(std::span<const std::byte> bytes) {
  EVP_DigestUpdate(context_of(context_.get()), bytes.data(), bytes.size());
}

std::string Digest::hex() {
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_DigestFinal_ex(context_of(context_.get()), hash, &length);
  std::string text;
  for (unsigned i = 0; i < length; ++i) text += fmt::format("{:02x}", hash[i]);
  return text;
}

Result<std::string> digest_file(const std::string& path, std::string_view blob_name) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) {
    return fail(ErrorKind::kNotFound, "model", "{} cannot be opened: {}", path,
                std::strerror(errno));
  }
  struct stat status {};
  if (::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return invalid("model", "{} is not a regular file", path);
  }
  Digest digest(blob_name, status.st_size);
  std::vector<std::byte> piece(size_t{4} << 20);
  ssize_t got = 0;
  while ((got = ::read(file.get(), piece.data(), piece.size())) > 0) {
    digest.update({piece.data(), static_cast<size_t>(got)});
  }
  if (got < 0) return invalid("model", "{} cannot be read: {}", path, std::strerror(errno));
  return digest.hex();
}

}  // namespace m2
