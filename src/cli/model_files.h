// Everything of a model folder but the weights: read and checked before anything big is loaded.
//
// Thread-safety: constant once opened.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/obtain_model.h"
#include "cli/serve_options.h"
#include "engine/request.h"
#include "loader/generation_config.h"
#include "model/config.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace m2::cli {

struct ModelFiles {
  std::string folder;
  ObtainedModel obtained;  // its weights may still have to be downloaded: obtain_weights()
  ModelConfig config;
  GenerationConfig generation;         // --generation-config, then --override-generation-config
  std::vector<TokenId> eos_token_ids;  // the model's own, whatever the sampling defaults are
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<ChatTemplate> chat_template;  // null: the folder has none

  int32_t max_model_tokens = 0;  // --max-model-len; 0: the model's, or what fits
};

// A model that is not on disk is downloaded, but for its weights.
Result<ModelFiles> open_model(const ServeOptions& options);

// One line for the log: "5 layers of 256, 8 experts of 512 (2 a token), FP8".
std::string describe(const ModelConfig& config);

// One line for the log: the effective sampling defaults and where they come from.
std::string describe_sampling(const ServeOptions& options, const ModelFiles& files);

}  // namespace m2::cli
