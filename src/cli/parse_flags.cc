#include "cli/parse_flags.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "cli/nearest.h"

namespace m2::cli {
namespace {

// Names are compared with dashes only; what follows the first dot is a JSON key and stays.
std::string canonical(std::string_view name) {
  std::string out(name);
  const auto end = out.begin() + static_cast<std::ptrdiff_t>(std::min(out.find('.'), out.size()));
  std::replace(out.begin(), end, '_', '-');
  return out;
}

std::optional<bool> as_bool(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (lower == "true" || lower == "1") return true;
  if (lower == "false" || lower == "0") return false;
  return std::nullopt;
}

Result<json::Value> parse_float(const Flag& flag, std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) {
    return invalid(std::string(flag.name), "--{} takes a number, got '{}'", flag.name, text);
  }
  return json::Value(value);
}

// What one argument says: which flag, the dotted path behind it, and its "=value".
struct Spelled {
  const Flag* flag = nullptr;
  std::string path;  // of a JSON flag: "a.b"; empty for the whole
  bool negated = false;
  std::optional<std::string_view> value;
};

// Sets `path` ("a.b.c") inside a JSON object; "c+" appends comma-separated values to a list.
Status set_path(json::Value& root, std::string_view flag, std::string_view path,
                std::string_view text) {
  bool append = !path.empty() && path.back() == '+';
  if (append) path.remove_suffix(1);
  json::Value* at = &root;
  constexpr int kMaxDepth = 32;  // as deep as any flag goes, with room
  for (int depth = 0;; ++depth) {
    if (depth == kMaxDepth) return invalid(std::string(flag), "--{}: too many dots", flag);
    if (!at->is_object()) *at = json::Object{};
    const size_t dot = path.find('.');
    const std::string_view key = path.substr(0, dot);
    if (key.empty()) return invalid(std::string(flag), "--{}: a key between dots is empty", flag);
    json::Value* next = at->as_object().find(key);
    at = next ? next : &at->as_object().set(key, nullptr);
    if (dot == std::string_view::npos) break;
    path.remove_prefix(dot + 1);
  }
  const auto value_of = [](std::string_view word) {
    auto parsed = json::parse(word);
    return parsed ? std::move(*parsed) : json::Value(word);
  };
  if (!append) {
    *at = value_of(text);
    return {};
  }
  if (!at->is_array()) *at = json::Array{};
  for (size_t begin = 0; begin <= text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    at->as_array().push_back(value_of(text.substr(begin, comma - begin)));
    begin = comma + 1;
  }
  return {};
}

class Parser {
 public:
  Parser(const Command& command, std::span<const std::string> arguments)
      : command_(command), arguments_(arguments) {}

  Result<ParsedFlags> run() {
    while (next_ < arguments_.size()) {
      const std::string& argument = arguments_[next_++];
      if (argument.size() < 2 || argument[0] != '-') {
        if (out_.positionals.size() == command_.max_positionals) {
          return invalid("", "'{}' is one argument too many; usage: {}", argument, command_.usage);
        }
        out_.positionals.push_back(argument);
        continue;
      }
      M2_TRY(take_flag(argument));
    }
    return std::move(out_);
  }

 private:
  Status take_flag(std::string_view argument) {
    if (argument == "-h" || argument == "--help") {
      out_.help = true;
      return {};
    }
    if (argument.starts_with("--help=")) {
      out_.help = true;
      out_.help_topic = canonical(argument.substr(7));
      return {};
    }
    // -O2 and -O 2 are the optimisation level, as a compiler's.
    if (argument.size() > 2 && argument.starts_with("-O") && argument[2] >= '0' &&
        argument[2] <= '9') {
      if (const Flag* flag = find_flag(command_, "optimization-level")) {
        return store(*flag, json::Value(argument.substr(2)));
      }
    }
    M2_ASSIGN(Spelled spelled, spell(argument));
    if (!spelled.path.empty()) return take_dotted(spelled);
    return take_value(spelled);
  }

  Result<Spelled> spell(std::string_view argument) {
    Spelled out;
    const bool is_long = argument.starts_with("--");
    std::string_view body = argument.substr(is_long ? 2 : 1);
    if (const size_t equals = body.find('='); equals != std::string_view::npos) {
      out.value = body.substr(equals + 1);
      body = body.substr(0, equals);
    }
    std::string name = canonical(body);
    if (const size_t dot = name.find('.'); dot != std::string::npos) {
      out.path = name.substr(dot + 1);
      name.resize(dot);
      if (out.path.empty()) return unknown(argument, name);
    }
    for (const Alias& alias : command_.aliases) {
      const bool taken = is_long && find_flag(command_, name) != nullptr;
      if (name == alias.alias && !taken) name = alias.name;
    }
    out.flag = find_flag(command_, name);
    // Aliases and full names are taken with one dash or two, as no other meaning exists.
    if (!out.flag && name.starts_with("no-")) {
      out.flag = find_flag(command_, std::string_view(name).substr(3));
      out.negated = out.flag != nullptr;
      if (out.flag && out.flag->kind != FlagKind::kSwitch) out.flag = nullptr;
    }
    if (!out.flag) return unknown(argument, name);
    if (!out.path.empty() && out.flag->kind != FlagKind::kJson) return unknown(argument, name);
    return out;
  }

  tl::unexpected<Error> unknown(std::string_view argument, std::string_view name) const {
    std::vector<std::string_view> names;
    for (const Flag& flag : command_.flags) names.push_back(flag.name);
    const std::string_view near = nearest(name, names);
    const std::string_view typed = argument.substr(0, argument.find('='));
    if (near.empty()) {
      return invalid(std::string(name), "unknown flag {}; m2 {} --help lists them", typed,
                     command_.name);
    }
    return invalid(std::string(name), "unknown flag {}; did you mean --{}?", typed, near);
  }

  Status take_dotted(const Spelled& spelled) {
    M2_ASSIGN(const std::string_view text, value_text(spelled));
    json::Value& root = out_.values[std::string(spelled.flag->name)];
    return set_path(root, spelled.flag->name, spelled.path, text);
  }

  // "=value", else the next argument.
  Result<std::string_view> value_text(const Spelled& spelled) {
    if (spelled.value) return *spelled.value;
    if (next_ == arguments_.size() || is_flag(arguments_[next_])) {
      return invalid(std::string(spelled.flag->name), "--{} needs a value", spelled.flag->name);
    }
    return std::string_view(arguments_[next_++]);
  }

  // A lone '-' and negative numbers are values.
  static bool is_flag(std::string_view argument) {
    return argument.size() > 1 && argument[0] == '-' && !(argument[1] >= '0' && argument[1] <= '9');
  }

  Status take_value(const Spelled& spelled) {
    const Flag& flag = *spelled.flag;
    switch (flag.kind) {
      case FlagKind::kSwitch: {
        const std::optional<bool> on = spelled.value ? as_bool(*spelled.value) : true;
        if (!on || (spelled.negated && spelled.value)) {
          return invalid(std::string(flag.name), "--{} is on or --no-{} is off; it takes no value",
                         flag.name, flag.name);
        }
        return store(flag, json::Value(*on != spelled.negated));
      }
      case FlagKind::kOptionalText:
        if (!spelled.value && (next_ == arguments_.size() || is_flag(arguments_[next_]))) {
          return store(flag, json::Value(true));
        }
        break;
      case FlagKind::kList:
      case FlagKind::kAppend:
        return take_list(spelled);
      default:
        break;
    }
    M2_ASSIGN(const std::string_view text, value_text(spelled));
    M2_ASSIGN(json::Value value, flag_value(flag, text));
    return store(flag, std::move(value));
  }

  Status take_list(const Spelled& spelled) {
    const Flag& flag = *spelled.flag;
    json::Array items;
    M2_ASSIGN(const std::string_view first, value_text(spelled));
    items.push_back(first);
    while (!spelled.value && next_ < arguments_.size() && !is_flag(arguments_[next_])) {
      items.push_back(arguments_[next_++]);
    }
    json::Value& slot = out_.values[std::string(flag.name)];
    if (flag.kind == FlagKind::kAppend && slot.is_array()) {
      for (json::Value& item : items) slot.as_array().push_back(std::move(item));
      return {};
    }
    slot = nullptr;
    return store(flag, std::move(items));
  }

  Status store(const Flag& flag, json::Value value) {
    json::Value& slot = out_.values[std::string(flag.name)];
    if (!slot.is_null()) {
      out_.warnings.push_back(fmt::format("--{} is given twice; the last one counts", flag.name));
    }
    slot = std::move(value);
    return {};
  }

  const Command& command_;
  const std::span<const std::string> arguments_;
  size_t next_ = 0;
  ParsedFlags out_;
};

// A value as a person writes it, to hold against Flag::neutral.
std::string plain_text(const json::Value& value) {
  if (value.is_string()) return value.as_string();
  if (value.is_array() && value.as_array().size() == 1) return plain_text(value.as_array()[0]);
  return json::dump(value);
}

bool is_neutral(const Flag& flag, const json::Value& value) {
  if (flag.kind == FlagKind::kSwitch && value == json::Value(false)) return true;
  const std::string text = plain_text(value);
  for (std::string_view rest = flag.neutral; !rest.empty();) {
    const size_t bar = std::min(rest.find('|'), rest.size());
    if (rest.substr(0, bar) == text) return true;
    rest.remove_prefix(std::min(bar + 1, rest.size()));
  }
  return false;
}

}  // namespace

const Flag* find_flag(const Command& command, std::string_view name) {
  const auto found = std::find_if(command.flags.begin(), command.flags.end(),
                                  [&](const Flag& flag) { return flag.name == name; });
  return found == command.flags.end() ? nullptr : &*found;
}

Result<ParsedFlags> parse_flags(const Command& command, std::span<const std::string> arguments) {
  return Parser(command, arguments).run();
}

const json::Value* ParsedFlags::find(std::string_view name) const {
  const auto found = values.find(name);
  return found == values.end() ? nullptr : &found->second;
}

Result<int64_t> parse_count(std::string_view field, std::string_view text) {
  constexpr std::string_view kDecimal = "kmgt", kBinary = "KMGT";
  std::string_view digits = text;
  double scale = 1;
  bool fraction_allowed = false;
  if (!digits.empty()) {
    if (const size_t power = kDecimal.find(digits.back()); power != std::string_view::npos) {
      scale = std::pow(1000.0, static_cast<double>(power + 1));
      fraction_allowed = true;
    } else if (const size_t of_two = kBinary.find(digits.back());
               of_two != std::string_view::npos) {
      scale = std::pow(1024.0, static_cast<double>(of_two + 1));
    }
    if (scale != 1) digits.remove_suffix(1);
  }
  const auto bad = [&] {
    return invalid(std::string(field),
                   "--{} takes a whole number (also 1k = 1000, 1K = 1024, 25.6k), got '{}'", field,
                   text);
  };
  int64_t whole = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), whole);
  if (error == std::errc{} && end == digits.data() + digits.size()) {
    if (scale == 1) return whole;
    if (static_cast<double>(whole) * scale > 9e18 || whole < 0) return bad();
    return whole * static_cast<int64_t>(scale);
  }
  double value = 0;
  const auto [stop, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (!fraction_allowed || fault != std::errc{} || stop != digits.data() + digits.size() ||
      !(value >= 0 && value * scale < 9e18)) {
    return bad();
  }
  return static_cast<int64_t>(std::llround(value * scale));
}

Result<json::Value> flag_value(const Flag& flag, std::string_view text) {
  switch (flag.kind) {
    case FlagKind::kSwitch: {
      const std::optional<bool> on = as_bool(text);
      if (!on)
        return invalid(std::string(flag.name), "{} is true or false, got '{}'", flag.name, text);
      return json::Value(*on);
    }
    case FlagKind::kIntOrAuto:
      if (text == "auto") return json::Value(int64_t{-1});
      [[fallthrough]];
    case FlagKind::kInt: {
      M2_ASSIGN(const int64_t count, parse_count(flag.name, text));
      return json::Value(count);
    }
    case FlagKind::kFloat:
      return parse_float(flag, text);
    case FlagKind::kText:
    case FlagKind::kOptionalText:
      return json::Value(text);
    case FlagKind::kList:
    case FlagKind::kAppend:
      return json::Value(json::Array{json::Value(text)});
    case FlagKind::kJson: {
      auto parsed = json::parse(text);
      if (!parsed) {
        return invalid(std::string(flag.name), "--{} takes JSON, got '{}': {}", flag.name, text,
                       parsed.error().message);
      }
      return std::move(*parsed);
    }
  }
  return json::Value(text);
}

void merge_defaults(ParsedFlags& parsed, ParsedFlags defaults) {
  for (auto& [name, value] : defaults.values) parsed.values.try_emplace(name, std::move(value));
  if (parsed.positionals.empty()) parsed.positionals = std::move(defaults.positionals);
  for (std::string& warning : defaults.warnings) parsed.warnings.push_back(std::move(warning));
  for (std::string& note : defaults.notes) parsed.notes.push_back(std::move(note));
}

Status check_effects(const Command& command, ParsedFlags& parsed) {
  std::string without_effect, needless;
  const auto add = [](std::string& list, const Flag& flag) {
    list += fmt::format("{}--{} ({})", list.empty() ? "" : ", ", flag.name, flag.note);
  };
  for (const auto& [name, value] : parsed.values) {
    const Flag* flag = find_flag(command, name);
    if (!flag || flag->effect == FlagEffect::kUsed) continue;
    if (flag->effect == FlagEffect::kNone) {
      add(without_effect, *flag);
    } else if (flag->effect == FlagEffect::kNeedless) {
      add(needless, *flag);
    } else if (!is_neutral(*flag, value)) {
      return fail(ErrorKind::kUnsupported, std::string(flag->name), "--{} {} is refused: {}",
                  flag->name, plain_text(value), flag->note);
    }
  }
  if (!without_effect.empty()) {
    parsed.warnings.push_back("flags taken without effect: " + without_effect);
  }
  if (!needless.empty()) parsed.notes.push_back("flags not needed here: " + needless);
  return {};
}

}  // namespace m2::cli
