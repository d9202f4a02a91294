#include "cli/help.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <vector>

#include "cli/commands.h"
#include "cli/nearest.h"

namespace m2::cli {
namespace {

std::string_view value_hint(FlagKind kind) {
  switch (kind) {
    case FlagKind::kSwitch:
      return "";
    case FlagKind::kInt:
    case FlagKind::kIntOrAuto:
    case FlagKind::kFloat:
      return " N";
    case FlagKind::kText:
    case FlagKind::kOptionalText:
      return " TEXT";
    case FlagKind::kList:
    case FlagKind::kAppend:
      return " TEXT ...";
    case FlagKind::kJson:
      return " JSON";
  }
  return "";
}

void append_flag(std::string& out, const Command& command, const Flag& flag) {
  std::string left = "  ";
  for (const Alias& alias : command.aliases) {
    if (alias.name != flag.name) continue;
    const bool is_word = alias.alias.find('-') != alias.alias.npos;
    left += fmt::format("{}{}, ", is_word ? "--" : "-", alias.alias);
  }
  left += fmt::format("--{}{}", flag.name, value_hint(flag.kind));
  constexpr size_t kColumn = 42;
  if (left.size() + 2 > kColumn) {
    fmt::format_to(std::back_inserter(out), "{}\n{:{}}{}\n", left, "", kColumn, flag.note);
  } else {
    fmt::format_to(std::back_inserter(out), "{:{}}{}\n", left, kColumn, flag.note);
  }
}

bool contains_word(std::string_view heading, std::string_view word) {
  const auto lower = [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  return std::search(heading.begin(), heading.end(), word.begin(), word.end(),
                     [&](char a, char b) { return lower(a) == lower(b); }) != heading.end();
}

void append_effect(std::string& out, const Command& command, FlagEffect effect,
                   std::string_view heading) {
  fmt::format_to(std::back_inserter(out), "\n{}:\n", heading);
  for (const Flag& flag : command.flags) {
    if (flag.effect == effect) append_flag(out, command, flag);
  }
}

bool is_heading(const Command& command, std::string_view word) {
  return std::any_of(command.flags.begin(), command.flags.end(),
                     [&](const Flag& flag) { return contains_word(flag.group, word); });
}

tl::unexpected<Error> unknown_topic(const Command& command, std::string_view topic) {
  std::vector<std::string_view> known = {"all"};
  for (const Flag& flag : command.flags) {
    known.push_back(flag.name);
    if (!flag.group.empty()) known.push_back(flag.group);
  }
  const std::string_view near = nearest(topic, known);
  return invalid("help", "--help={} is neither a flag nor a heading{}", topic,
                 near.empty() ? "; m2 " + std::string(command.name) + " --help shows them"
                              : fmt::format("; did you mean --help={}?", near));
}

}  // namespace

Result<std::string> command_help(const Command& command, std::string_view topic) {
  std::string out;
  if (const Flag* flag = find_flag(command, topic)) {
    append_flag(out, command, *flag);
    return out;
  }
  if (!topic.empty() && topic != "all" && !is_heading(command, topic)) {
    return unknown_topic(command, topic);
  }
  out = fmt::format("usage: {}\n{}\n", command.usage, command.summary);
  std::string_view group;
  for (const Flag& flag : command.flags) {
    if (flag.effect != FlagEffect::kUsed) continue;
    if (!topic.empty() && topic != "all" && !contains_word(flag.group, topic)) continue;
    if (flag.group != group) {
      group = flag.group;
      fmt::format_to(std::back_inserter(out), "\n{}:\n", group);
    }
    append_flag(out, command, flag);
  }
  const bool has_other = std::any_of(command.flags.begin(), command.flags.end(),
                                     [](const Flag& f) { return f.effect != FlagEffect::kUsed; });
  if (topic == "all") {
    append_effect(out, command, FlagEffect::kNeedless, "Not needed here");
    append_effect(out, command, FlagEffect::kNone, "Taken without effect");
    append_effect(out, command, FlagEffect::kRefused, "Refused");
  } else if (has_other) {
    out +=
        "\n--help=all adds the flags of vLLM that have no effect here or are refused, and why.\n";
  }
  return out;
}

int print_help(const Command& command, std::string_view topic) {
  const auto text = command_help(command, topic);
  if (!text) {
    fmt::print(stderr, "m2 {}: {}\n", command.name, text.error().message);
    return kExitUsage;
  }
  fmt::print("{}", *text);
  return kExitOk;
}

}  // namespace m2::cli
