// Server-sent events, as text: "data: " + one line + an empty line.
//
// Thread-safety: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "server/http/message.h"

namespace m2 {

inline constexpr std::string_view kSseDone = "data: [DONE]\n\n";
inline constexpr std::string_view kSsePing = ": ping\n\n";

// An event's payload is appended between these two; it holds no line break (JSON never does).
inline void begin_event(std::string& out) { out += "data: "; }
inline void end_event(std::string& out) { out += "\n\n"; }

HttpReply sse_head();

}  // namespace m2
