#include "engine/decoder.hpp"

#include <algorithm>
#include <cassert>
#include <string>

#include "base/on_failure.hpp"
#include "engine/kernels.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/tape_scope.hpp"

namespace tapedeck::inline TAPEDECK_ABI::engine {
namespace {

// One layer's part of an array that holds all layers.
std::span<const float> part(std::span<const float> all, std::size_t layer,
                            std::size_t layers) noexcept {
  const std::size_t size = all.size() / layers;
  return all.subspan(layer * size, size);
}

}  // namespace

struct Decoder::Pass {
  TokenTakes takes;
  std::size_t position;
};

Decoder::Decoder(const Shape& shape, const Weights& weights, Layout& layout, ThreadPool& pool,
                 std::size_t talk)
    : shape_(shape), weights_(weights), layout_(layout), pool_(pool), talk_(talk) {
  caches_.reserve(shape.layers);
  const auto rows = [&](const std::string& name) {
    const Region* region = layout.plan().history.find(name);
    if (region == nullptr) throw InvalidArgument("the layout's plan has no region " + name);
    return layout.history_at<float>(*region, talk);
  };
  for (std::size_t layer = 0; layer < shape.layers; ++layer) {
    const std::string prefix = "layers." + std::to_string(layer);
    caches_.push_back({.keys = rows(prefix + ".k"), .values = rows(prefix + ".v")});
  }
}

std::size_t Decoder::position() const noexcept { return layout_.tokens(talk_); }

std::span<float> Decoder::forward(TokenId token) {
  assert(token < shape_.vocab);
  const TokenTakes takes = take_token(layout_.scratch(), shape_);
  const std::size_t position = layout_.advance(talk_);
  OnFailure undo([&] { layout_.rewind(talk_, 1); });
  const Pass pass{.takes = takes, .position = position};

  const std::span<float> hidden = pass.takes.hidden;
  const auto embedding = weights_.token_embedding.subspan(token * shape_.dim, shape_.dim);
  std::copy(embedding.begin(), embedding.end(), hidden.begin());
  rotation_at(pass.takes.rotation, position);
  for (std::size_t layer = 0; layer < shape_.layers; ++layer) run_layer(layer, pass);
  rmsnorm(hidden, hidden, weights_.final_norm);
  matmul(pool_, pass.takes.logits, hidden, weights_.classifier);
  undo.completed();
  return pass.takes.logits;
}

void Decoder::run_layer(std::size_t layer, const Pass& pass) {
  const std::size_t layers = shape_.layers;
  const std::size_t kv_dim = shape_.kv_dim();
  const std::size_t positions = pass.position + 1;
  const TapeScope layer_end(layout_.scratch());  // the next layer computes in the same, warm, lines
  const LayerTakes t = take_layer(layout_.scratch(), shape_, positions);
  const std::span<float> hidden = pass.takes.hidden;
  const Cache& cache = caches_[layer];

  rmsnorm(t.normed, hidden, part(weights_.attention_norm, layer, layers));
  const std::span<float> key = cache.keys.subspan(pass.position * kv_dim, kv_dim);
  const std::span<float> value = cache.values.subspan(pass.position * kv_dim, kv_dim);
  matmul(pool_, t.query, t.normed, part(weights_.wq, layer, layers));
  matmul(pool_, key, t.normed, part(weights_.wk, layer, layers));
  matmul(pool_, value, t.normed, part(weights_.wv, layer, layers));
  rotate(t.query, pass.takes.rotation);
  rotate(key, pass.takes.rotation);
  attend(pool_, t.mixed, t.query, t.scores,
         {.keys = cache.keys.data(),
          .values = cache.values.data(),
          .stride = kv_dim,
          .positions = positions},
         {.heads = shape_.heads, .kv_heads = shape_.kv_heads});
  matmul(pool_, t.out, t.mixed, part(weights_.wo, layer, layers));
  add(hidden, t.out);

  rmsnorm(t.normed, hidden, part(weights_.ffn_norm, layer, layers));
  matmul(pool_, t.gate, t.normed, part(weights_.w1, layer, layers));
  matmul(pool_, t.up, t.normed, part(weights_.w3, layer, layers));
  swiglu(t.gate, t.up);
  matmul(pool_, t.out, t.gate, part(weights_.w2, layer, layers));
  add(hidden, t.out);
}

}  // namespace tapedeck::inline TAPEDECK_ABI::engine
