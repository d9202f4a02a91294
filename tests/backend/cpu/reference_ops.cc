#include "tests/backend/cpu/reference_ops.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace m2::test {
namespace {

double weight_of(const Matrix& w, int64_t row, int64_t column, bool scale_twice) {
  const int64_t i = row * w.columns + column;
  if (w.dtype == DType::kF32) return static_cast<const float*>(w.data)[i];
  if (w.dtype == DType::kBF16) return bf16_to_float(static_cast<const bf16_t*>(w.data)[i]);
  const double scale = w.scales[row / 64 * ((w.columns + 63) / 64) + column / 64];
  const double value = f8_to_float(static_cast<const f8_t*>(w.data)[i]) * scale;
  return scale_twice ? value * scale : value;
}

void add(std::vector<double>& to, const std::vector<double>& what, double factor = 1) {
  for (size_t i = 0; i < to.size(); ++i) to[i] += factor * what[i];
}

void round_to(DType type, std::vector<double>& values) {
  for (double& value : values) {
    const auto x = static_cast<float>(value);
    if (type == DType::kBF16) value = bf16_to_float(float_to_bf16(x));
    if (type == DType::kF8E4M3) value = f8_to_float(float_to_f8(x));
  }
}

}  // namespace

void ReferenceOps::begin_step(const Batch& batch) {
  batch_ = batch;
  for (auto* rows : {&hidden_, &qkv_, &attended_, &normed_, &router_}) {
    rows->assign(batch.tokens.size(), {});
  }
  margin_.assign(batch.tokens.size(), INFINITY);
}

const ReferenceOps::Vector& ReferenceOps::widened(const Matrix& w) const {
  Vector& values = widened_[w.data];
  if (values.empty()) {
    for (int64_t row = 0; row < w.rows; ++row) {
      for (int64_t i = 0; i < w.columns; ++i) {
        values.push_back(weight_of(w, row, i, faults_.scale_twice));
      }
    }
  }
  return values;
}

ReferenceOps::Vector ReferenceOps::multiply(const Matrix& w, const Vector& x) const {
  const double* weights = widened(w).data();
  Vector result(w.rows);
  for (int64_t row = 0; row < w.rows; ++row, weights += w.columns) {
    double sums[4] = {};  // apart, so that one addition need not wait for the last
    for (int64_t i = 0; i < w.columns; ++i) sums[i % 4] += weights[i] * x[i];
    result[row] = sums[0] + sums[1] + sums[2] + sums[3];
  }
  return result;
}

ReferenceOps::Vector ReferenceOps::norm(const Vector& x, const float* weight) const {
  const double squares = std::inner_product(x.begin(), x.end(), x.begin(), 0.0);
  const double factor = 1 / std::sqrt(squares / double(x.size()) + config_.rms_norm_eps);
  Vector result(x.size());
  for (size_t i = 0; i < x.size(); ++i) result[i] = x[i] * factor * weight[i];
  return result;
}

void ReferenceOps::embed(const Matrix& embed, Communicator&) {
  for (size_t t = 0; t < hidden_.size(); ++t) {
    for (int64_t i = 0; i < embed.columns; ++i) {
      hidden_[t].push_back(weight_of(embed, batch_.tokens[t], i, false));
    }
  }
}

void ReferenceOps::norm_qkv(const float* weight, const Matrix& qkv) {
  for (size_t t = 0; t < hidden_.size(); ++t) qkv_[t] = multiply(qkv, norm(hidden_[t], weight));
}

void ReferenceOps::norm_heads(Vector& x, const float* weight) const {
  if (!faults_.norm_each_head) {
    x = norm(x, weight);
    return;
  }
  for (size_t begin = 0; begin < x.size(); begin += config_.head_dim) {
    const Vector head(x.begin() + begin, x.begin() + begin + config_.head_dim);
    const Vector result = norm(head, weight + begin);
    std::copy(result.begin(), result.end(), x.begin() + begin);
  }
}

void ReferenceOps::rotate(Vector& x, int32_t position) const {
  const int32_t dims = faults_.rotate_all_dimensions ? config_.head_dim : config_.rotary_dim;
  for (size_t head = 0; head < x.size(); head += config_.head_dim) {
    for (int32_t i = 0; i < dims / 2; ++i) {
      const double angle = position * std::pow(config_.rope_theta, -2.0 * i / dims);
      double& a = x[head + i];
      double& b = x[head + i + dims / 2];
      const double turned = a * std::cos(angle) - b * std::sin(angle);
      b = b * std::cos(angle) + a * std::sin(angle);
      a = turned;
    }
  }
}

void ReferenceOps::attention(int32_t layer, const float* q_norm, const float* k_norm,
                             Communicator&) {
  for (const BatchRow& row : batch_.rows) {
    for (int32_t i = 0; i < row.num_tokens; ++i) {
      const Vector& qkv = qkv_[row.first_token + i];
      const int32_t position = row.context_tokens + i;
      const auto k_begin = qkv.begin() + config_.q_width();
      Vector q(qkv.begin(), k_begin), k(k_begin, k_begin + config_.kv_width());
      if (!faults_.norm_after_rotation) norm_heads(q, q_norm), norm_heads(k, k_norm);
      rotate(q, position), rotate(k, position);
      if (faults_.norm_after_rotation) norm_heads(q, q_norm), norm_heads(k, k_norm);
      const int64_t place =
          int64_t{row.blocks[position / limits_.block_tokens]} * limits_.block_tokens +
          position % limits_.block_tokens;
      Vector v(k_begin + config_.kv_width(), qkv.end());
      for (Vector* x : {&k, &v}) round_to(limits_.kv_dtype, *x);
      cache_[{layer, place}] = {k, v};
      attended_[row.first_token + i] = attend(layer, row, position, q);
    }
  }
}

ReferenceOps::Vector ReferenceOps::attend(int32_t layer, const BatchRow& row, int32_t position,
                                          const Vector& q) const {
  Vector result(q.size());
  const int32_t head_dim = config_.head_dim;
  for (int32_t h = 0; h < config_.num_heads; ++h) {
    const int32_t kv = h / (config_.num_heads / config_.num_kv_heads) * head_dim;
    Vector scores;
    std::vector<const KeyValue*> entries;
    for (int32_t p = 0; p <= position; ++p) {
      const int64_t place = int64_t{row.blocks[p / limits_.block_tokens]} * limits_.block_tokens +
                            p % limits_.block_tokens;
      entries.push_back(&cache_.at({layer, place}));
      double dot = 0;
      for (int32_t d = 0; d < head_dim; ++d) dot += q[h * head_dim + d] * entries[p]->key[kv + d];
      scores.push_back(dot / std::sqrt(double(head_dim)));
    }
    const double largest = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (double& score : scores) sum += score = std::exp(score - largest);
    for (int32_t p = 0; p <= position; ++p) {
      for (int32_t d = 0; d < head_dim; ++d) {
        result[h * head_dim + d] += scores[p] / sum * entries[p]->value[kv + d];
      }
    }
  }
  return result;
}

void ReferenceOps::o_proj_add(const Matrix& o_proj, Communicator&) {
  for (size_t t = 0; t < hidden_.size(); ++t) add(hidden_[t], multiply(o_proj, attended_[t]));
}

void ReferenceOps::norm_route(const float* weight, const float* gate) {
  const Matrix router{gate, nullptr, DType::kF32, config_.num_experts, config_.hidden_size, 1};
  for (size_t t = 0; t < hidden_.size(); ++t) {
    normed_[t] = norm(hidden_[t], weight);
    router_[t] = multiply(router, normed_[t]);
  }
}

void ReferenceOps::experts_add(const float* gate_bias, const Matrix& gate_up, const Matrix& down,
                               Communicator&) {
  for (size_t t = 0; t < hidden_.size(); ++t) {
    Vector score;
    for (double logit : router_[t]) score.push_back(1 / (1 + std::exp(-logit)));
    std::vector<int32_t> order(score.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return score[a] + gate_bias[a] > score[b] + gate_bias[b];
    });
    const auto choice = [&](size_t i) { return score[order[i]] + gate_bias[order[i]]; };
    const size_t chosen = config_.experts_per_token;
    if (chosen < order.size()) {
      margin_[t] = std::min(margin_[t], choice(chosen - 1) - choice(chosen));
    }
    order.resize(chosen);
    double sum = 0;
    for (int32_t e : order) {
      if (faults_.bias_in_weight) score[e] += gate_bias[e];
      sum += score[e];
    }
    if (faults_.no_renormalisation) sum = 1;
    for (int32_t e : order) {
      const Vector both = multiply(gate_up.at(e), normed_[t]);
      const size_t width = both.size() / 2;
      Vector activated(width);
      for (size_t i = 0; i < width; ++i) {
        activated[i] = both[i] / (1 + std::exp(-both[i])) * both[width + i];
      }
      add(hidden_[t], multiply(down.at(e), activated), score[e] / sum);
    }
  }
}

void ReferenceOps::head(std::span<const SampleRequest> requests, const float* weight,
                        const Matrix& lm_head) {
  logits_.clear();
  for (const SampleRequest& request : requests) {
    logits_.push_back(multiply(lm_head, norm(hidden_[request.token_index], weight)));
  }
}

Status ReferenceOps::read_logits(std::span<float> logits) {
  auto out = logits.begin();
  for (const Vector& row : logits_) out = std::copy(row.begin(), row.end(), out);
  return {};
}

}  // namespace m2::test
