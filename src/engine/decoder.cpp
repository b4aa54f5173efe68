#include "engine/decoder.hpp"

#include <cassert>
#include <string>

#include "base/on_failure.hpp"
#include "engine/kernels.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/tape_scope.hpp"

namespace tapedeck::inline TAPEDECK_ABI::engine {

struct Decoder::Pass {
  TokenTakes takes;
  std::size_t position;
};

Decoder::Decoder(const LlamaModel& model, Layout& layout, ThreadPool& pool, std::size_t talk)
    : shape_(model.shape()),
      weights_(model.arrays()),
      frequencies_(model.frequencies()),
      layout_(layout),
      pool_(pool),
      talk_(talk) {
  caches_.reserve(shape_.layers);
  const auto rows = [&](const std::string& name) {
    const Region* region = layout.plan().history.find(name);
    if (region == nullptr) throw InvalidArgument("the layout's plan has no region " + name);
    return layout.history_at<float>(*region, talk);
  };
  for (std::size_t layer = 0; layer < shape_.layers; ++layer) {
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
  wait_for(0);
  copy_row(hidden, weights_.token_embedding, token);
  rotation_at(pass.takes.rotation, frequencies_, position);
  for (std::size_t layer = 0; layer < shape_.layers; ++layer) {
    wait_for(1 + layer);
    run_layer(layer, pass);
  }
  wait_for(1 + shape_.layers);
  rmsnorm(hidden, hidden, weights_.final_norm, shape_.norm_epsilon);
  matmul(pool_, pass.takes.logits, hidden, weights_.classifier);
  ready_ = nullptr;
  undo.completed();
  return pass.takes.logits;
}

void Decoder::run_layer(std::size_t layer, const Pass& pass) {
  const std::size_t positions = pass.position + 1;
  const TapeScope layer_end(layout_.scratch());  // the next layer computes in the same, warm, lines
  const LayerTakes t = take_layer(layout_.scratch(), shape_, positions);
  const std::span<float> hidden = pass.takes.hidden;
  const LayerWeights& w = weights_.layers[layer];
  const Cache& cache = caches_[layer];
  const std::size_t key_dim = shape_.key_dim();
  const std::size_t value_dim = shape_.value_dim();

  rmsnorm(t.normed, hidden, w.attention_norm, shape_.norm_epsilon);
  const std::span<float> key = cache.keys.subspan(pass.position * key_dim, key_dim);
  const std::span<float> value = cache.values.subspan(pass.position * value_dim, value_dim);
  matmul(pool_, t.query, t.normed, w.query);
  matmul(pool_, key, t.normed, w.key);
  matmul(pool_, value, t.normed, w.value);
  rotate(t.query, pass.takes.rotation);
  rotate(key, pass.takes.rotation);
  attend(pool_, t.mixed, t.query, t.scores,
         {.keys = cache.keys.data(),
          .values = cache.values.data(),
          .key_stride = key_dim,
          .value_stride = value_dim,
          .positions = positions},
         {.heads = shape_.heads, .kv_heads = shape_.kv_heads});
  matmul(pool_, t.out, t.mixed, w.attention_out);
  add(hidden, t.out);

  rmsnorm(t.normed, hidden, w.ffn_norm, shape_.norm_epsilon);
  matmul(pool_, t.gate, t.normed, w.gate);
  matmul(pool_, t.up, t.normed, w.up);
  swiglu(t.gate, t.up);
  matmul(pool_, t.out, t.gate, w.down);
  add(hidden, t.out);
}

}  // namespace tapedeck::inline TAPEDECK_ABI::engine
