// What `m2 chat` and `m2 complete` share: their flags and the connection made from them.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/flag.h"

namespace m2::cli {

const Command& chat_command();
const Command& complete_command();

struct ClientOptions {
  std::string url = "http://localhost:8000/v1";
  std::string model;  // empty: the server's first
  std::string api_key;
  std::string system_prompt;
  std::string quick;       // one message instead of a conversation; empty: read stdin
  int64_t max_tokens = 0;  // 0: the server's default
  bool stats = false;
  bool help = false;
  std::string help_topic;
};

Result<ClientOptions> parse_client_options(const Command& command, Arguments arguments);

}  // namespace m2::cli
