#include "server/http/request_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace m2 {
namespace {

// 0, or the status of the refusal, of a head that comes in pieces of so many bytes.
int status_of(std::string text, size_t piece, const ServerLimits& limits) {
  HttpRequestReader reader(limits);
  std::string input;
  while (!text.empty() && !reader.error() && !reader.head_done()) {
    input += text.substr(0, piece);
    text.erase(0, piece);
    input.erase(0, reader.read_head(input));
  }
  if (reader.error()) return reader.error()->status;
  EXPECT_TRUE(reader.head_done());
  return 0;
}

TEST(HttpRequestReader, TheLimitOfAHeadDoesNotDependOnItsPieces) {
  ServerLimits limits;
  limits.header_bytes = 256;
  const std::string begin = "GET /a/path HTTP/1.1\r\nHost: a\r\nX: ", end = "\r\n\r\n";
  for (size_t bytes = limits.header_bytes - 40; bytes < limits.header_bytes + 40; ++bytes) {
    const std::string head = begin + std::string(bytes - begin.size() - end.size(), 'x') + end;
    const int expected = bytes <= limits.header_bytes ? 0 : 431;
    for (size_t piece = 1; piece <= bytes; piece = piece < 30 ? piece + 1 : piece * 2) {
      EXPECT_EQ(status_of(head, piece, limits), expected) << bytes << " by " << piece;
    }
    EXPECT_EQ(status_of(head, bytes, limits), expected) << bytes;
  }
}

}  // namespace
}  // namespace m2
