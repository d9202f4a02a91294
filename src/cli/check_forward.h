// Asks a model on disk fixed questions, to tell a right one from a garbled one.
//
// Thread-safety: one thread.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/model_files.h"
#include "engine/executor.h"

namespace m2::cli {

struct ForwardCheck {
  struct Answer {
    std::string question, expected, reply;
    bool right = false;
  };
  std::vector<Answer> answers;
  // Of the questions as the model was trained to see them. A model that has learnt nothing, or
  // whose numbers are wrong, guesses among its whole vocabulary.
  double perplexity = 0;
  double bound = 0;
  std::vector<float> logprobs;  // of the questions' tokens, in order
};

// An error is a fault of the device or of the template, not a wrong answer.
Result<ForwardCheck> check_forward(Executor& executor, const ModelFiles& files);

// ForwardCheck::logprobs alone, by another executor: the same numbers, but for rounding.
Result<std::vector<float>> question_logprobs(Executor& executor, const ModelFiles& files);

// Between two runs of the same tokens; infinite where one has no number, or another count of them.
float largest_difference(std::span<const float> some, std::span<const float> others);

}  // namespace m2::cli
