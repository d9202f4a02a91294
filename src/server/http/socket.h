// A connected socket on an io loop, plain or under TLS: bytes in and out, by callbacks on the
// loop's thread. At most one read and one write are open at a time.
//
// Thread-safety: the io loop's thread only. Callbacks may come after close(), never after the loop
// has ended; they keep alive what they capture.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/descriptor.h"

namespace boost::asio {
class io_context;
}

namespace m2 {

class TlsContext;

class HttpSocket {
 public:
  using Done = std::function<void(size_t bytes)>;  // 0: the other side has closed, or a failure

  virtual ~HttpSocket() = default;
  virtual void handshake(Done done) = 0;  // at once without TLS
  virtual void read_some(char* data, size_t size, Done done) = 0;
  virtual void write_some(std::string_view bytes, Done done) = 0;
  // As much as goes out without waiting; 0: nothing, use write_some(). Not while a write is open.
  virtual size_t try_write(std::string_view bytes) = 0;
  virtual void shutdown_write() = 0;  // what was written is followed by an end
  virtual void close() = 0;           // open operations end with 0
  virtual void reset() = 0;           // close, and throw away what waits to be sent
  virtual std::string peer() const = 0;

  // `tls` may be null. Null when the descriptor is no stream socket.
  static std::shared_ptr<HttpSocket> adopt(boost::asio::io_context& loop, Descriptor descriptor,
                                           const TlsContext* tls);
};

}  // namespace m2
