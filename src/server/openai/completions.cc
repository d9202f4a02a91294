#include "server/openai/completions.h"

#include <utility>

namespace m2 {
namespace {

bool read_token_prompt(JsonFields& fields, const json::Array& ids, int32_t vocab_size,
                       std::vector<TokenId>& out) {
  out.reserve(ids.size());
  for (const json::Value& value : ids) {
    const auto id = whole_number(value);
    // The width of the logits, not the tokenizer's size, is what the device indexes by.
    if (!id || *id < 0 || *id >= vocab_size) {
      fields.refuse("prompt", "prompt must hold token ids in [0, {}], got {}", vocab_size - 1,
                    shown(value));
      return false;
    }
    out.push_back(static_cast<TokenId>(*id));
  }
  return true;
}

// A text, token ids, or a list of either.
void read_prompts(JsonFields& fields, const RequestRules& rules, std::vector<Prompt>& out) {
  const json::Value* prompt = fields.find("prompt");
  if (!prompt) {
    return fields.refuse("prompt", "prompt is missing: a string, token ids, or a list of them");
  }
  if (prompt->is_string()) {
    out.emplace_back(prompt->as_string());
    return;
  }
  if (!prompt->is_array() || prompt->as_array().empty()) {
    return fields.refuse("prompt",
                         "prompt must be a string, token ids, or a list of them that is not "
                         "empty, got {}",
                         shown(*prompt));
  }
  const json::Array& list = prompt->as_array();
  if (list[0].is_number()) {
    std::vector<TokenId> ids;
    if (read_token_prompt(fields, list, rules.vocab_size, ids)) out.emplace_back(std::move(ids));
    return;
  }
  const auto most = static_cast<size_t>(rules.options.limits.max_prompts);
  if (list.size() > most) {
    return fields.refuse("prompt", "prompt holds {} prompts, at most {} are taken", list.size(),
                         most);
  }
  for (const json::Value& one : list) {
    if (one.is_string()) {
      out.emplace_back(one.as_string());
    } else if (one.is_array()) {
      std::vector<TokenId> ids;
      if (!read_token_prompt(fields, one.as_array(), rules.vocab_size, ids)) return;
      out.emplace_back(std::move(ids));
    } else {
      return fields.refuse("prompt", "prompt must hold strings or lists of token ids, got {}",
                           shown(one));
    }
  }
}

void read_completion_logprobs(JsonFields& fields, const RequestRules& rules,
                              OpenAiCompletion& out) {
  GenerationOptions& options = out.request.options;
  read_logprobs(fields, "logprobs", rules, out.logprobs);
  options.sampling.num_logprobs = out.logprobs;
  out.reply.logprobs = out.logprobs >= 0;
  read_logprobs(fields, "prompt_logprobs", rules, options.prompt_logprobs);
  if (out.reply.stream && options.prompt_logprobs > 0) {
    fields.refuse("prompt_logprobs", "prompt_logprobs must be 0 with stream: true, got {}",
                  options.prompt_logprobs);
  }
  out.prompt_logprobs = options.prompt_logprobs;
  if (!out.echo || !out.reply.logprobs) return;
  if (out.reply.stream && options.n > 1) {
    fields.refuse("n", "n must be 1 with echo, logprobs and stream, got {}", options.n);
  }
  options.prompt_logprobs = std::max(options.prompt_logprobs, out.logprobs);
}

}  // namespace

Result<OpenAiCompletion> parse_openai_completion(json::Value body, const RequestRules& rules) {
  const json::Object& object = body.as_object();
  OpenAiCompletion out;
  JsonFields fields(object);
  M2_ASSIGN(out.reply.model, read_model(fields, rules.options));
  M2_TRY(refuse_unsupported(object));
  std::string suffix;
  fields.text("suffix", suffix, rules.options.limits.max_name_bytes);
  if (!suffix.empty()) {
    return fail(ErrorKind::kUnsupported, "suffix", "suffix is not supported");
  }
  read_prompts(fields, rules, out.request.prompts);
  read_generation(fields, rules, out.request.options);
  read_reply_settings(fields, rules.options, out.reply);
  fields.boolean("echo", out.echo);
  // 0 with echo: what evaluation tools send to have a text scored.
  fields.integer("max_tokens", out.request.options.max_tokens, out.echo ? 0 : 1,
                 std::numeric_limits<int32_t>::max());
  read_completion_logprobs(fields, rules, out);
  M2_TRY(fields.status());
  return out;
}

}  // namespace m2
