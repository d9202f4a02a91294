// Any bytes as an HTTP request, cut into pieces whose size the first byte gives: it is read within
// its limits or refused, and cuts change nothing.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "server/http/request_reader.h"

namespace {

using m2::HttpRequest;
using m2::HttpRequestReader;
using m2::ServerLimits;

struct Outcome {
  int status = 0;  // of a refusal; 1: incomplete
  HttpRequest request;
};

Outcome read(std::string_view text, size_t piece, const ServerLimits& limits) {
  HttpRequestReader reader(limits);
  Outcome out;
  std::string input;
  for (bool more = true; more && !reader.error() && !reader.done();) {
    more = !text.empty();
    input += text.substr(0, piece);
    text.remove_prefix(std::min(piece, text.size()));
    if (!reader.head_done()) {
      input.erase(0, reader.read_head(input));
      if (reader.head_done() && !reader.error()) out.request = reader.take_head();
    }
    while (reader.head_done() && !reader.error() && !reader.done()) {
      const size_t used = reader.read_body(input);
      input.erase(0, used);
      if (used == 0) break;
    }
    M2_CHECK(reader.body_bytes() <= limits.body_bytes, "a body over its limit");
  }
  if (reader.error()) {
    out.status = reader.error()->status;
  } else if (!reader.done()) {
    out.status = 1;
  } else {
    out.request.body = reader.take_body();
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  ServerLimits limits;
  limits.header_bytes = 2048;
  limits.body_bytes = 4096;
  const Outcome whole = read(text, size, limits);
  const Outcome cut = read(text, size_t{data[0]} + 1, limits);
  if (whole.status == 0) {
    M2_CHECK(cut.status == 0 && cut.request.body == whole.request.body &&
                 cut.request.path == whole.request.path,
             "a cut changes the request");
    std::string path;
    if (m2::percent_decode(whole.request.path, path))
      M2_CHECK(path.starts_with('/') || path == "*");
  }
  return 0;
}
