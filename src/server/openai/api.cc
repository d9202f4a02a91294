#include "server/openai/api.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "server/openai/chat_writer.h"
#include "server/openai/errors.h"

namespace m2 {
namespace {

constexpr int32_t kDefaultCompletionTokens = 16;  // OpenAI's

}  // namespace

OpenAiApi::OpenAiApi(const ServerOptions& options, const ServerModel& model, Service& service)
    : options_(options),
      model_(model),
      service_(service),
      control_(reply_tokens(*model.tokenizer)) {}

void OpenAiApi::chat(HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
  queue(std::move(request), std::move(exchange), &OpenAiApi::run_chat);
}
void OpenAiApi::completions(HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
  queue(std::move(request), std::move(exchange), &OpenAiApi::run_completions);
}
void OpenAiApi::tokenize(HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
  queue(std::move(request), std::move(exchange), &OpenAiApi::run_tokenize);
}
void OpenAiApi::detokenize(HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
  queue(std::move(request), std::move(exchange), &OpenAiApi::run_detokenize);
}

void OpenAiApi::queue(HttpRequest request, std::shared_ptr<HttpExchange> exchange, Work work) {
  if (const Status ready = service_.ready(); !ready) {
    exchange->reply(openai_error(ready.error()));
    return;
  }
  const auto job =
      std::make_shared<Job>(Job{std::move(request), std::move(exchange), service_.open_request(),
                                std::chrono::steady_clock::now()});
  const Status queued = service_.post([this, job, work] {
    if (job->exchange->gone()) return;
    Status done = service_.working();  // it may have waited for long
    if (done) done = (this->*work)(*job);
    if (!done) job->exchange->reply(openai_error(done.error()));
  });
  if (!queued) job->exchange->reply(openai_error(queued.error()));
}

Result<json::Value> OpenAiApi::take_body(Job& job, RequestKind kind) {
  auto value = parse_body(job.request.body, options_.limits);
  job.request.body = {};
  job.request.share.release();
  if (value) unknown_.note(kind, value->as_object());
  return value;
}

OpenAiReply OpenAiApi::make_reply(Job& job, ReplySettings settings, const char* id_prefix) const {
  const std::string_view header = job.request.field("x-request-id");
  std::string id = reply_id(id_prefix, header.empty() ? settings.request_id : header);
  return {std::move(settings),
          *model_.tokenizer,
          job.exchange,
          std::move(job.open),
          std::move(id),
          now_seconds(),
          {}};
}

SessionPlan OpenAiApi::make_plan(const Job& job, GenerationOptions options,
                                 const ReplySettings& settings) const {
  SessionPlan plan(*model_.tokenizer);
  plan.arrival = job.arrival;
  plan.client = job.request.client;
  plan.text.skip_special_tokens = options.skip_special_tokens;
  plan.text.stop_strings = options.stop_strings;
  plan.text.include_stop_string = options.include_stop_string;
  plan.text.min_tokens = options.stop.min_tokens;
  plan.text.control = control_;
  plan.eos_token_ids = model_.eos_token_ids;
  plan.stream_interval = settings.stream_interval;
  plan.options = std::move(options);
  return plan;
}

// What one request may hold in memory, whatever its n and the number of its prompts.
Status OpenAiApi::check_total(const SessionPlan& plan, bool stream) const {
  const auto choices = static_cast<int64_t>(plan.prompts.size()) * plan.options.n;
  if (choices > options_.limits.max_total_choices) {
    return invalid("n", "prompts times n must be at most {}, got {}",
                   options_.limits.max_total_choices, choices);
  }
  constexpr int64_t kAlways = 1 << 20;
  const int64_t most = std::max(
      kAlways, int64_t{options_.limits.max_request_contexts} * service_.prompts().context_tokens());
  int64_t total = 0;
  for (const auto& prompt : plan.prompts) total += static_cast<int64_t>(prompt.size());
  total *= plan.options.n;
  if (total > most) {
    return invalid("n", "prompts times n are {} tokens, one request may have {}", total, most);
  }
  return check_logprobs(plan, stream);
}

// A stream's logprobs are sent and forgotten; a document's are kept to the end.
Status OpenAiApi::check_logprobs(const SessionPlan& plan, bool stream) const {
  const int64_t most = options_.limits.max_logprob_entries;
  const SamplingParams& sampling = plan.options.sampling;
  const int64_t ids = static_cast<int64_t>(sampling.logprob_token_ids.size());
  int64_t prompt_tokens = 0, reply_tokens = 0;
  for (size_t i = 0; i < plan.prompts.size(); ++i) {
    prompt_tokens += static_cast<int64_t>(plan.prompts[i].size());
    reply_tokens += int64_t{plan.max_tokens[i]} * plan.options.n;
  }
  const int64_t of_prompts = prompt_tokens * (plan.options.prompt_logprobs + 1);
  if (of_prompts > most) {
    return invalid("prompt_logprobs",
                   "prompt_logprobs of {} prompt tokens are {} values, at most "
                   "{} are given",
                   prompt_tokens, of_prompts, most);
  }
  const int64_t of_reply =
      stream || sampling.num_logprobs < 0 ? 0 : reply_tokens * (sampling.num_logprobs + 1 + ids);
  if (of_reply > most) {
    return invalid("logprobs",
                   "logprobs of {} tokens ({} times n) may be {} values, at "
                   "most {} are given at once; ask for fewer, or for a stream",
                   reply_tokens, plan.options.max_tokens_field, of_reply, most);
  }
  return {};
}

void OpenAiApi::log_request(const OpenAiReply& reply, const SessionPlan& plan) const {
  if (!options_.log_requests) return;
  size_t tokens = 0;
  for (const auto& prompt : plan.prompts) tokens += prompt.size();
  const SamplingParams& sampling = plan.options.sampling;
  log_info("{}: {} prompts, {} tokens, n {}, max_tokens {}, temperature {}, top_p {}, top_k {}{}",
           reply.id, plan.prompts.size(), tokens, plan.options.n, plan.max_tokens[0],
           sampling.temperature, sampling.top_p, sampling.top_k,
           reply.settings.stream ? ", stream" : "");
}

Status OpenAiApi::run_chat(Job& job) {
  M2_ASSIGN(json::Value body, take_body(job, kChat));
  M2_ASSIGN(OpenAiChat chat, parse_openai_chat(std::move(body), rules()));
  ChatRequest& request = chat.request;
  const Prompts& prompts = service_.prompts();
  M2_ASSIGN(EncodedChat encoded, prompts.chat(request));
  M2_ASSIGN(request.options.sampling.bad_words, prompts.bad_words(request.options.bad_words));
  M2_ASSIGN(const int32_t max_tokens,
            prompts.fit(encoded.tokens, request.options, model_.sampling.max_tokens, "messages"));

  SessionPlan plan = make_plan(job, std::move(request.options), chat.reply);
  plan.max_tokens.push_back(max_tokens);
  ReplyParserOptions& parser = plan.text.parser.emplace();
  const bool split = request.split_reasoning || !request.include_reasoning;
  parser.reasoning = split ? ReasoningMode::kSplit : options_.reasoning;
  parser.starts_in_reasoning = encoded.in_reasoning;
  parser.parse_tools = !request.tools.is_null();
  parser.suppress_tools = request.suppress_tools;
  if (!request.parallel_tool_calls) parser.max_tool_calls = 1;
  plan.text.schemas = ToolSchemas(request.tools);

  OpenAiReply reply = make_reply(job, std::move(chat.reply), "chatcmpl-");
  if (reply.settings.return_token_ids) reply.prompts.push_back(encoded.tokens);
  plan.prompts.push_back(std::move(encoded.tokens));
  M2_TRY(check_total(plan, reply.settings.stream));
  log_request(reply, plan);
  ChatReplyOptions how{.role = std::move(chat.role),
                       .echoed_text = std::move(chat.echoed_text),
                       .choices = plan.options.n,
                       .show_reasoning = request.include_reasoning};
  const bool stream = reply.settings.stream;
  plan.writer = stream ? make_chat_stream(std::move(reply), std::move(how))
                       : make_chat_document(std::move(reply), std::move(how));
  service_.run(std::move(plan), job.exchange);
  return {};
}

Status OpenAiApi::run_completions(Job& job) {
  M2_ASSIGN(json::Value body, take_body(job, kCompletions));
  M2_ASSIGN(OpenAiCompletion completion, parse_openai_completion(std::move(body), rules()));
  GenerationOptions& options = completion.request.options;
  const Prompts& prompts = service_.prompts();
  M2_ASSIGN(options.sampling.bad_words, prompts.bad_words(options.bad_words));
  const int32_t fallback =
      model_.sampling.max_tokens > 0 ? model_.sampling.max_tokens : kDefaultCompletionTokens;

  SessionPlan plan = make_plan(job, options, completion.reply);
  CompletionReplyOptions how{.n = options.n,
                             .prompt_texts = {},
                             .echo = completion.echo,
                             .logprobs = completion.logprobs,
                             .prompt_logprobs = completion.prompt_logprobs};
  for (Prompt& prompt : completion.request.prompts) {
    std::vector<TokenId> tokens;
    if (const auto* text = std::get_if<std::string>(&prompt)) {
      M2_ASSIGN(tokens, prompts.text(*text));
    } else {
      tokens = std::move(std::get<std::vector<TokenId>>(prompt));
    }
    M2_ASSIGN(const int32_t max_tokens, prompts.fit(tokens, options, fallback, "prompt"));
    if (completion.echo) how.prompt_texts.push_back(model_.tokenizer->decode(tokens, false));
    plan.max_tokens.push_back(max_tokens);
    plan.prompts.push_back(std::move(tokens));
  }
  M2_TRY(check_total(plan, completion.reply.stream));

  OpenAiReply reply = make_reply(job, std::move(completion.reply), "cmpl-");
  reply.prompts = plan.prompts;
  log_request(reply, plan);
  const bool stream = reply.settings.stream;
  plan.writer = stream ? make_completion_stream(std::move(reply), std::move(how))
                       : make_completion_document(std::move(reply), std::move(how));
  service_.run(std::move(plan), job.exchange);
  return {};
}

Status OpenAiApi::run_tokenize(Job& job) {
  M2_ASSIGN(json::Value body, take_body(job, kTokenize));
  JsonFields fields(body.as_object());
  M2_TRY(read_model(fields, options_));
  M2_TRY(refuse_unsupported(body.as_object()));
  read_without_effect(fields);
  bool strings = false;
  fields.boolean("return_token_strs", strings);
  M2_TRY(fields.status());
  std::vector<TokenId> tokens;
  if (body.find("messages")) {
    ChatRequest request;
    M2_TRY(read_conversation(body.as_object(), rules(), request));
    M2_ASSIGN(EncodedChat encoded, service_.prompts().chat(request));
    tokens = std::move(encoded.tokens);
  } else {
    const json::Value* prompt = fields.find("prompt");
    if (!prompt || !prompt->is_string()) {
      return invalid("prompt", "prompt must be a string, or messages an array");
    }
    M2_ASSIGN(tokens, service_.prompts().text(prompt->as_string()));
  }
  std::string out = fmt::format("{{\"count\":{},\"max_model_len\":{},\"tokens\":", tokens.size(),
                                service_.prompts().context_tokens());
  append_ids(out, tokens);
  out += ",\"token_strs\":";
  if (strings) {
    out += '[';
    for (const TokenId token : tokens) {
      if (out.back() != '[') out += ',';
      json::append_quoted(out, model_.tokenizer->token_string(token));
    }
    out += ']';
  } else {
    out += "null";
  }
  job.exchange->reply({200, "application/json", out + "}", {}});
  return {};
}

Status OpenAiApi::run_detokenize(Job& job) {
  M2_ASSIGN(const json::Value body, take_body(job, kDetokenize));
  JsonFields fields(body.as_object());
  M2_TRY(read_model(fields, options_));
  const json::Array* ids = fields.array("tokens", options_.limits.json_elements);
  M2_TRY(fields.status());
  if (!ids) return invalid("tokens", "tokens must be an array of token ids");
  std::vector<TokenId> tokens;
  for (const json::Value& value : *ids) {
    const auto id = whole_number(value);
    if (!id || *id < 0 || *id >= service_.vocab_size()) {
      return invalid("tokens", "tokens must hold ids in [0, {}], got {}", service_.vocab_size() - 1,
                     shown(value));
    }
    tokens.push_back(static_cast<TokenId>(*id));
  }
  std::string out = "{\"prompt\":";
  json::append_quoted(out, model_.tokenizer->decode(tokens, false));
  job.exchange->reply({200, "application/json", out + "}", {}});
  return {};
}

std::string OpenAiApi::model_card(const std::string& name) const {
  std::string out = "{\"id\":";
  json::append_quoted(out, name);
  out +=
      fmt::format(",\"object\":\"model\",\"created\":{},\"owned_by\":\"m2\",\"root\":", started_);
  json::append_quoted(out, options_.model_root.empty() ? name : options_.model_root);
  out += ",\"parent\":null,\"max_model_len\":";
  const int32_t context = service_.prompts().context_tokens();
  out += context > 0 ? std::to_string(context) : "null";  // not known while loading
  return out + ",\"permission\":[]}";
}

HttpReply OpenAiApi::models() const {
  std::string out = "{\"object\":\"list\",\"data\":[";
  for (const std::string& name : options_.served_names) {
    if (out.back() != '[') out += ',';
    out += model_card(name);
  }
  return {200, "application/json", out + "]}", {}};
}

HttpReply OpenAiApi::model(const std::string& id) const {
  const auto& names = options_.served_names;
  if (std::find(names.begin(), names.end(), id) != names.end()) {
    return {200, "application/json", model_card(id), {}};
  }
  return openai_error(404, fmt::format("The model `{}` does not exist.", id), "model");
}

}  // namespace m2
