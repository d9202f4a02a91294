#include "cli/model_files.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "loader/json_file.h"

namespace m2::cli {
namespace {

bool is_folder(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

Result<std::unique_ptr<Tokenizer>> open_tokenizer(const ServeOptions& options,
                                                  const ModelFiles& files) {
  std::string path = options.tokenizer.empty() ? files.folder : options.tokenizer;
  if (is_folder(path)) path += "/tokenizer.json";
  M2_ASSIGN(std::unique_ptr<Tokenizer> tokenizer, Tokenizer::load(path));
  if (tokenizer->vocab_size() > files.config.vocab_size) {
    return invalid("tokenizer", "{}: has ids up to {}, but the model's embedding has {} rows", path,
                   tokenizer->vocab_size() - 1, files.config.vocab_size);
  }
  return tokenizer;
}

// --chat-template is a file, or the template itself, which is told by its braces.
Result<std::string> template_source(const ServeOptions& options, const std::string& folder) {
  const std::string& given = options.chat_template;
  if (given.empty()) return read_chat_template(folder);
  auto text = read_file(given, kMaxTemplateBytes, FileKind::kAny);
  if (text) return text;
  const bool itself = text.error().kind == ErrorKind::kNotFound && given.find('{') != given.npos;
  if (itself && given.size() <= kMaxTemplateBytes) return given;
  return invalid("chat-template", "--chat-template {}", text.error().message);
}

Result<std::unique_ptr<ChatTemplate>> open_chat_template(const ServeOptions& options,
                                                         const ModelFiles& files) {
  auto source = template_source(options, files.folder);
  if (!source) {
    if (source.error().kind != ErrorKind::kNotFound) return tl::unexpected(source.error());
    log_warning("no chat template ({}): chat requests will be refused", source.error().message);
    return nullptr;
  }
  const std::string name = options.chat_template.empty() ? "chat_template" : "--chat-template";
  return ChatTemplate::load(name, std::move(*source), *files.tokenizer);
}

// The folder's end tokens: generation_config.json's, else the tokenizer's own.
Result<std::vector<TokenId>> end_tokens(const ModelFiles& files, const GenerationConfig& own) {
  std::vector<TokenId> ids = own.eos_token_ids;
  if (ids.empty()) {
    const auto config = read_json_file(files.folder + "/tokenizer_config.json");
    if (!config && config.error().kind != ErrorKind::kNotFound) {
      return tl::unexpected(config.error());
    }
    const json::Value* token = config ? config->find("eos_token") : nullptr;
    if (token && token->is_object()) token = token->find("content");
    if (token && token->is_string()) {
      if (const auto id = files.tokenizer->token_id(token->as_string())) ids.push_back(*id);
    }
  }
  for (const TokenId id : ids) {
    if (id < 0 || id >= files.config.vocab_size) {
      return invalid("eos_token_id", "end token {} is not among the model's {} ids", id,
                     files.config.vocab_size);
    }
  }
  if (ids.empty()) {
    log_warning("the model names no end token: replies end by max_tokens or stop alone");
  }
  return ids;
}

Status read_generation(const ServeOptions& options, ModelFiles& files) {
  M2_ASSIGN(const GenerationConfig own, load_generation_config(files.folder));
  M2_ASSIGN(files.eos_token_ids, end_tokens(files, own));
  if (options.generation_config == "auto") {
    files.generation = own;
  } else if (options.generation_config != "vllm") {
    if (!is_folder(options.generation_config)) {
      return invalid("generation-config",
                     "--generation-config must be auto, vllm or a folder, got '{}'",
                     options.generation_config);
    }
    M2_ASSIGN(files.generation, load_generation_config(options.generation_config));
  }
  const Status applied = apply_generation_config(options.generation_overrides, files.generation);
  if (!applied) {
    return invalid("override-generation-config", "--override-generation-config: {}",
                   applied.error().message);
  }
  return {};
}

Status read_length(const ServeOptions& options, ModelFiles& files) {
  if (!options.max_model_tokens) return {};
  if (*options.max_model_tokens > files.config.max_position_embeddings) {
    return invalid("max-model-len", "--max-model-len {} is over the model's {} positions",
                   *options.max_model_tokens, files.config.max_position_embeddings);
  }
  files.max_model_tokens = static_cast<int32_t>(*options.max_model_tokens);
  return {};
}

// An override that changes nothing is mostly a misspelt one.
void warn_of_idle_overrides(const ServeOptions& options, const ModelFiles& files) {
  for (const auto& [key, value] : options.hf_overrides) {
    json::Object others;
    for (const auto& [name, other] : options.hf_overrides) {
      if (name != key) others.set(name, other);
    }
    const auto without = load_config(files.folder, others);
    if (!without || !(*without == files.config)) continue;
    log_warning("--hf-overrides: {} {} changes nothing that m2 reads", key, json::dump(value));
  }
}

}  // namespace

Result<ModelFiles> open_model(const ServeOptions& options) {
  ModelFiles files;
  M2_ASSIGN(files.obtained,
            obtain_model({.source = {options.model, options.revision, options.download_dir},
                          .hf_token = options.hf_token,
                          .hf_overrides = options.hf_overrides,
                          .weights = !options.dummy_weights}));
  files.folder = files.obtained.folder;
  M2_ASSIGN(files.config, load_config(files.folder, options.hf_overrides));
  warn_of_idle_overrides(options, files);
  M2_TRY(read_length(options, files));
  M2_ASSIGN(files.tokenizer, open_tokenizer(options, files));
  M2_ASSIGN(files.chat_template, open_chat_template(options, files));
  M2_TRY(read_generation(options, files));
  return files;
}

std::string describe(const ModelConfig& config) {
  return fmt::format("{} layers of {}, {} experts of {} ({} a token), {} ids, {} positions, {}",
                     config.num_layers, config.hidden_size, config.num_experts, config.expert_width,
                     config.experts_per_token, config.vocab_size, config.max_position_embeddings,
                     config.fp8() ? "FP8" : "bf16");
}

std::string describe_sampling(const ServeOptions& options, const ModelFiles& files) {
  const GenerationConfig& defaults = files.generation;
  std::string from = options.generation_config == "auto"   ? "generation_config.json"
                     : options.generation_config == "vllm" ? "neutral"
                                                           : options.generation_config;
  if (!options.generation_overrides.empty()) from += " and --override-generation-config";
  std::string length = "what the context leaves";
  if (defaults.max_new_tokens) length = fmt::format("{}", *defaults.max_new_tokens);
  return fmt::format(
      "sampling defaults ({}): temperature {}, top_p {}, top_k {}, min_p {}, repetition_penalty "
      "{}, max_tokens {}, end tokens [{}]",
      from, defaults.temperature, defaults.top_p, defaults.top_k, defaults.min_p,
      defaults.repetition_penalty, length, fmt::join(files.eos_token_ids, ", "));
}

}  // namespace m2::cli
