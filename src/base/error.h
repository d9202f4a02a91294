// Errors as values. Everything that the outside can cause (a client, a file, a device) is returned
// as a Result<T>; the message names the field, the value and the limit. Programmer faults are
// M2_CHECKs (base/check.h).
//
// Thread-safety: plain values.
#pragma once

#include <fmt/format.h>

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace m2 {

// What kind of fault it is. The server maps a kind to an HTTP status; nothing else does.
enum class ErrorKind {
  kInvalidArgument,  // 400: a field is malformed or out of its bounds
  kNotFound,         // 404
  kTooLarge,         // 413
  kUnsupported,      // 501: well-formed, but not served here
  kUnavailable,      // 503: queue full, draining, loading; retry later
  kInternal,         // 500: device, rank or communicator fault
};

struct Error {
  ErrorKind kind = ErrorKind::kInternal;
  std::string message;
  std::string field;  // the request field or flag at fault, e.g. "temperature"; may be empty
};

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

// fail(kind, "field", "temperature must be in [0, 2], got {}", t): the unexpected side of a Result.
template <typename... Args>
tl::unexpected<Error> fail(ErrorKind kind, std::string field, fmt::format_string<Args...> format,
                           Args&&... args) {
  return tl::unexpected<Error>(
      Error{kind, fmt::format(format, std::forward<Args>(args)...), std::move(field)});
}

// The most common case: a bad value from outside.
template <typename... Args>
tl::unexpected<Error> invalid(std::string field, fmt::format_string<Args...> format,
                              Args&&... args) {
  return fail(ErrorKind::kInvalidArgument, std::move(field), format, std::forward<Args>(args)...);
}

}  // namespace m2

// Returns the error of a Result or Status expression from the enclosing function.
#define M2_TRY(expression)                                                       \
  do {                                                                           \
    auto&& m2_try_result = (expression);                                         \
    if (!m2_try_result) return tl::unexpected(std::move(m2_try_result.error())); \
  } while (0)

#define M2_CONCAT_INNER(a, b) a##b
#define M2_CONCAT(a, b) M2_CONCAT_INNER(a, b)
// M2_ASSIGN(auto x, make_x()): assigns the value or returns the error from the enclosing function.
#define M2_ASSIGN(declaration, expression) \
  M2_ASSIGN_INNER(M2_CONCAT(m2_result_, __LINE__), declaration, expression)
#define M2_ASSIGN_INNER(name, declaration, expression)       \
  auto name = (expression);                                  \
  if (!name) return tl::unexpected(std::move(name.error())); \
  declaration = std::move(*name)
