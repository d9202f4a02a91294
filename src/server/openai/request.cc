#include "server/openai/request.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace m2 {
namespace {

constexpr float kGreedyBelow = 1e-5f, kLeastTemperature = 0.01f;
constexpr double kMostPenalty = 100, kMostTemperature = 2;
constexpr float kMostBias = 100;

void read_sampling(JsonFields& fields, const SamplingDefaults& defaults, SamplingParams& out) {
  out.temperature = defaults.temperature;
  out.top_p = defaults.top_p;
  out.min_p = defaults.min_p;
  out.top_k = defaults.top_k;
  out.repetition_penalty = defaults.repetition_penalty;
  fields.number("temperature", out.temperature, 0, kMostTemperature);
  fields.positive("top_p", out.top_p, 1);
  fields.number("min_p", out.min_p, 0, 1);
  fields.integer("top_k", out.top_k, -1);
  fields.positive("repetition_penalty", out.repetition_penalty, kMostPenalty);
  fields.number("presence_penalty", out.presence_penalty, -2, 2);
  fields.number("frequency_penalty", out.frequency_penalty, -2, 2);
  if (out.top_k < 0) out.top_k = 0;
  // As vLLM: what is all but greedy is greedy, and what is all but that stays away from overflow.
  if (out.temperature < kGreedyBelow) {
    out.temperature = 0;
  } else {
    out.temperature = std::max(out.temperature, kLeastTemperature);
  }
}

bool read_id(JsonFields& fields, const char* name, const json::Value& value, int32_t vocab_size,
             TokenId& out) {
  const auto id = whole_number(value);
  if (!id || *id < 0 || *id >= vocab_size) {
    fields.refuse(name, "{} must hold token ids in [0, {}], got {}", name, vocab_size - 1,
                  shown(value));
    return false;
  }
  out = static_cast<TokenId>(*id);
  return true;
}

void read_ids(JsonFields& fields, const char* name, size_t most, int32_t vocab_size,
              std::vector<TokenId>& out) {
  const json::Array* ids = fields.array(name, most);
  if (!ids) return;
  for (const json::Value& value : *ids) {
    TokenId id = 0;
    if (!read_id(fields, name, value, vocab_size, id)) return;
    out.push_back(id);
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
}

void read_bias(JsonFields& fields, const RequestRules& rules, SamplingParams& out) {
  const json::Object* bias = fields.object("logit_bias");
  if (!bias) return;
  const auto most = static_cast<size_t>(rules.options.limits.max_logit_bias);
  if (bias->size() > most) {
    return fields.refuse("logit_bias", "logit_bias has {} entries, at most {} are taken",
                         bias->size(), most);
  }
  for (const auto& [key, value] : *bias) {
    int32_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 ||
        id >= rules.vocab_size) {
      return fields.refuse("logit_bias", "logit_bias' keys must be token ids in [0, {}], got {}",
                           rules.vocab_size - 1, shown(json::Value(key)));
    }
    if (!value.is_number() || !std::isfinite(value.as_double())) {
      return fields.refuse("logit_bias", "logit_bias of token {} must be a number, got {}", id,
                           shown(value));
    }
    const auto amount = static_cast<float>(value.as_double());
    out.logit_bias.emplace_back(id, std::clamp(amount, -kMostBias, kMostBias));
  }
}

void read_strings(JsonFields& fields, const char* name, size_t most, size_t most_bytes,
                  std::vector<std::string>& out) {
  const json::Value* value = fields.find(name);
  if (!value) return;
  json::Array one;
  if (value->is_string()) {
    one.push_back(*value);
  } else if (!fields.array(name, most)) {
    return;
  }
  for (const json::Value& text : value->is_string() ? one : value->as_array()) {
    if (!text.is_string() || text.as_string().empty()) {
      return fields.refuse(name, "{} must hold strings that are not empty, got {}", name,
                           shown(text));
    }
    if (text.as_string().size() > most_bytes) {
      return fields.refuse(name, "{} holds a string of {} bytes, at most {} are taken", name,
                           text.as_string().size(), most_bytes);
    }
    out.push_back(text.as_string());
  }
}

void read_stops(JsonFields& fields, const RequestRules& rules, GenerationOptions& out) {
  const ServerLimits& limits = rules.options.limits;
  read_strings(fields, "stop", static_cast<size_t>(limits.max_stop_strings), limits.max_stop_bytes,
               out.stop_strings);
  read_strings(fields, "bad_words", static_cast<size_t>(limits.max_bad_words),
               limits.max_bad_word_bytes, out.bad_words);
  read_ids(fields, "stop_token_ids", static_cast<size_t>(limits.max_stop_token_ids),
           rules.vocab_size, out.stop.stop_token_ids);
  fields.boolean("include_stop_str_in_output", out.include_stop_string);
  fields.boolean("ignore_eos", out.stop.ignore_eos);
  fields.integer("min_tokens", out.stop.min_tokens, 0);
}

}  // namespace

Result<json::Value> parse_body(const std::string& body, const ServerLimits& limits) {
  json::Limits json_limits;
  json_limits.max_bytes = limits.body_bytes;
  json_limits.max_depth = limits.json_depth;
  json_limits.max_elements = limits.json_elements;
  auto value = json::parse(body, json_limits);
  // Whatever is wrong with it, to the client it is a bad request.
  if (!value) return invalid("", "the body is no JSON: {}", value.error().message);
  if (!value->is_object()) {
    return invalid("", "the body must be a JSON object, got {}", json::type_name(*value));
  }
  return std::move(*value);
}

Result<std::string> read_model(JsonFields& fields, const ServerOptions& options) {
  std::string model;
  fields.text("model", model, options.limits.max_name_bytes);
  M2_TRY(fields.status());
  if (model.empty()) return options.served_names[0];
  const auto& names = options.served_names;
  if (std::find(names.begin(), names.end(), model) != names.end()) return model;
  return fail(ErrorKind::kNotFound, "model", "The model `{}` does not exist.", model);
}

void read_generation(JsonFields& fields, const RequestRules& rules, GenerationOptions& out) {
  const ServerLimits& limits = rules.options.limits;
  read_sampling(fields, rules.sampling, out.sampling);
  read_bias(fields, rules, out.sampling);
  read_ids(fields, "allowed_token_ids", static_cast<size_t>(limits.max_allowed_token_ids),
           rules.vocab_size, out.sampling.allowed_token_ids);
  if (fields.find("allowed_token_ids") && out.sampling.allowed_token_ids.empty()) {
    fields.refuse("allowed_token_ids", "allowed_token_ids must not be empty");
  }
  read_ids(fields, "logprob_token_ids", static_cast<size_t>(limits.max_logprob_token_ids),
           rules.vocab_size, out.sampling.logprob_token_ids);
  read_stops(fields, rules, out);
  fields.integer("n", out.n, 1, limits.max_choices);
  if (fields.find("seed")) {
    int64_t seed = -1;
    fields.integer("seed", seed);
    if (seed != -1) out.seed = static_cast<uint64_t>(seed);
  }
  fields.boolean("skip_special_tokens", out.skip_special_tokens);
  fields.integer("truncate_prompt_tokens", out.truncate_prompt_tokens, -1);
  fields.text("cache_salt", out.cache_salt, limits.max_cache_salt_bytes);
  fields.integer("priority", out.priority);
  if (out.priority != 0 && !rules.options.priority_scheduling) {
    fields.refuse("priority", "priority must be 0 without --scheduling-policy priority, got {}",
                  out.priority);
  }
}

void read_logprobs(JsonFields& fields, const char* name, const RequestRules& rules, int32_t& out) {
  if (!fields.find(name)) return;
  const int32_t most = rules.options.max_logprobs;
  int32_t count = 0;
  fields.integer(name, count, most < 0 ? -1 : 0, most < 0 ? rules.vocab_size : most);
  out = count < 0 ? rules.vocab_size : std::min(count, rules.vocab_size);
}

void read_reply_settings(JsonFields& fields, const ServerOptions& options, ReplySettings& out) {
  read_without_effect(fields);
  fields.text("request_id", out.request_id, options.limits.max_name_bytes);
  fields.boolean("stream", out.stream);
  fields.boolean("return_token_ids", out.return_token_ids);
  out.tokens_as_ids = options.tokens_as_ids;
  fields.boolean("return_tokens_as_token_ids", out.tokens_as_ids);
  out.stream_interval = options.stream_interval;
  fields.integer("stream_interval", out.stream_interval, 1);
  out.include_usage = options.force_include_usage;
  if (const json::Object* stream_options = fields.object("stream_options")) {
    if (!out.stream) {
      return fields.refuse("stream_options", "stream_options may be set only with stream: true");
    }
    JsonFields inner(*stream_options, "stream_options.");
    inner.boolean("include_usage", out.include_usage);
    inner.boolean("continuous_usage_stats", out.continuous_usage);
    out.continuous_usage = out.continuous_usage && out.include_usage;
    if (const Status status = inner.status(); !status) fields.set_fault(status.error());
  }
}

void read_without_effect(JsonFields& fields) {
  bool flag = false;
  // Neither the tokenizer nor the detokenizer of these models adds anything by itself.
  fields.boolean("add_special_tokens", flag);
  fields.boolean("spaces_between_special_tokens", flag);
  double number = 0;  // of beams, which are refused
  fields.number("length_penalty", number, -kMostPenalty, kMostPenalty);
}

Status refuse_unsupported(const json::Object& request) {
  // Each of these would change the reply: to pass over one in silence would be a wrong answer.
  for (const char* name : {"structured_outputs", "guided_json", "guided_regex", "guided_choice",
                           "guided_grammar", "prompt_embeds", "repetition_detection",
                           "kv_transfer_params", "chat_template", "documents"}) {
    const json::Value* value = request.find(name);
    if (!value || value->is_null()) continue;
    return fail(ErrorKind::kUnsupported, name, "{} is not supported", name);
  }
  const json::Value* side = request.find("truncation_side");
  if (side && !side->is_null() && !(*side == json::Value("left"))) {
    return fail(ErrorKind::kUnsupported, "truncation_side",
                "truncation_side {} is not supported, only \"left\"", shown(*side));
  }
  const json::Value* beams = request.find("use_beam_search");
  if (beams && beams->is_bool() && beams->as_bool()) {
    return fail(ErrorKind::kUnsupported, "use_beam_search", "use_beam_search is not supported");
  }
  const json::Value* budget = request.find("thinking_token_budget");
  if (budget && !budget->is_null() && !(*budget == json::Value(-1))) {
    return fail(ErrorKind::kUnsupported, "thinking_token_budget",
                "thinking_token_budget is not supported; leave it out or send -1");
  }
  const json::Value* format = request.find("response_format");
  const json::Value* type = format ? format->find("type") : nullptr;
  if (format && !format->is_null() && !(type && type->is_string())) {
    return invalid("response_format", "response_format must be an object with a type");
  }
  if (type && type->as_string() != "text") {
    return fail(ErrorKind::kUnsupported, "response_format",
                "response_format of type {} is not supported, only \"text\"", shown(*type));
  }
  return {};
}

}  // namespace m2
