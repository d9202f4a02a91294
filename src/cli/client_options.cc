#include "cli/client_options.h"

#include "cli/environment.h"
#include "cli/flag_reader.h"
#include "cli/parse_flags.h"

namespace m2::cli {
namespace {

constexpr Alias kAliases[] = {{"q", "quick"}, {"u", "url"}};

std::vector<Flag> shared_flags() {
  const auto used = [](std::string_view name, FlagKind kind, std::string_view help) {
    return Flag{name, kind, FlagEffect::kUsed, "Flags", help};
  };
  return {
      used("url", FlagKind::kText, "the server, with or without /v1 (http://localhost:8000/v1)"),
      used("model-name", FlagKind::kText, "model to ask (the server's first)"),
      used("api-key", FlagKind::kText, "key, if the server wants one (M2_API_KEY, VLLM_API_KEY)"),
      used("quick", FlagKind::kText, "send this alone, print the reply and end"),
      used("max-tokens", FlagKind::kInt, "most tokens of a reply"),
      used("stats", FlagKind::kSwitch, "tell tokens and speed after each reply"),
  };
}

}  // namespace

const Command& chat_command() {
  static const Command command = [] {
    Command built{"chat", "m2 chat [flags]", "talk with a running server", shared_flags(),
                  kAliases};
    built.flags.push_back({"system-prompt", FlagKind::kText, FlagEffect::kUsed, "Flags",
                           "system message that the conversation begins with"});
    return built;
  }();
  return command;
}

const Command& complete_command() {
  static const Command command{"complete", "m2 complete [flags]",
                               "let a running server continue text", shared_flags(), kAliases};
  return command;
}

Result<ClientOptions> parse_client_options(const Command& command, Arguments arguments) {
  M2_ASSIGN(const ParsedFlags flags, parse_flags(command, arguments));
  ClientOptions out;
  out.help = flags.help;
  out.help_topic = flags.help_topic;
  FlagReader reader(flags);
  reader.text("url", out.url);
  reader.text("model-name", out.model);
  reader.text("api-key", out.api_key);
  reader.text("system-prompt", out.system_prompt);
  reader.text("quick", out.quick);
  reader.integer("max-tokens", out.max_tokens, 1, 1 << 24);
  reader.flag("stats", out.stats);
  M2_TRY(reader.status());
  if (out.api_key.empty()) {
    const Environment environment = read_environment();
    if (!environment.api_keys.empty()) out.api_key = environment.api_keys[0];
  }
  return out;
}

}  // namespace m2::cli
