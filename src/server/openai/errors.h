// Errors in OpenAI's shape: {"error": {"message", "type", "param", "code"}}.
//
// Thread-safety: pure functions.
#pragma once

#include <string>

#include "base/error.h"
#include "server/http/message.h"

namespace m2 {

int http_status(ErrorKind kind);

// The JSON text alone, as it also stands in a stream's event.
std::string openai_error_json(const Error& error);
std::string openai_error_json(int status, const std::string& message, const std::string& param);

// The whole reply; with Retry-After where trying again may help.
HttpReply openai_error(const Error& error);
HttpReply openai_error(int status, const std::string& message, const std::string& param = "");

}  // namespace m2
