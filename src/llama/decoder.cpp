// SPDX-License-Identifier: Apache-2.0
#include "llama/decoder.hpp"

#include <cassert>

#include "llama/kernels.hpp"

namespace tapedeck::llama {

template <class Places>
BasicDecoder<Places>::BasicDecoder(const LlamaModel& model, Layout& layout, ThreadPool& pool,
                                   std::size_t talk, DeviceModel* on_device)
    : model_(model),
      on_device_(on_device),
      layout_(layout),
      pool_(pool),
      talk_(places_of(layout).talk(talk)),
      buffers_(step_buffers<float, HostSpan>(places_of(layout), model.shape())),
      caches_(caches_of<float>(places_of(layout), model.shape(), talk)) {
  const Shape& s = model.shape();
  cut(buffers_.rope_q_temp, s.key_head(), "decode.rope_q_temp");
  cut(buffers_.scores, s.heads * places_of(layout).plan().context_per_talk, "decode.scores");
  if (on_device != nullptr) copies_.emplace(layout.gpu(0).device());
}

template <class Places>
std::span<float> BasicDecoder<Places>::forward(TokenId token) {
  assert(token < shape().vocab);
  const std::size_t position = talk_.advance();
  try {
    run_pass(token, position);
  } catch (...) {
    talk_.rewind(1);
    throw;
  }
  ready_ = nullptr;
  return buffers_.logits;
}

template <class Places>
void BasicDecoder<Places>::run_pass(TokenId token, std::size_t position) {
  const auto& b = buffers_;
  const LlamaWeights& outer = on_device_ != nullptr ? on_device_->outer() : model_.arrays();
  wait_for(0);
  copy_row(b.embed_out, outer.token_embedding, token);
  rotation_at(b.rope_q_temp, model_.frequencies(), position);
  for (std::size_t layer = 0; layer < shape().layers; ++layer) {
    wait_for(1 + layer);
    run_layer(layer, position);
  }
  wait_for(1 + shape().layers);
  rmsnorm(b.final_norm_out, b.embed_out, outer.final_norm.floats(), shape().norm_epsilon);
  matmul(pool_, b.logits, b.final_norm_out, outer.classifier);
}

template <class Places>
void BasicDecoder<Places>::run_layer(std::size_t layer, std::size_t position) {
  if (on_device_ == nullptr) return run_layer(model_.arrays().layers[layer], layer, position);
  const LayerWeights weights = on_device_->acquire(layer, copies_->handle());
  copies_->synchronize();  // the only place where the host waits for the copies
  run_layer(weights, layer, position);
  on_device_->release(layer, copies_->handle());
}

template <class Places>
void BasicDecoder<Places>::run_layer(const LayerWeights& weights, std::size_t layer,
                                     std::size_t position) {
  const auto& b = buffers_;
  const Shape& s = shape();
  const std::size_t key_dim = s.key_dim();
  const std::size_t value_dim = s.value_dim();
  const auto& cache = caches_[layer];  // the device, if any, is made of host memory
  const std::span<float> key(cache.keys.data() + position * key_dim, key_dim);
  const std::span<float> value(cache.values.data() + position * value_dim, value_dim);
  const std::span<float> query = b.qkv_out.first(s.query_dim());
  const std::span<float> gate = b.gate_up_out.first(s.ffn);
  const std::span<float> up = b.gate_up_out.last(s.ffn);

  rmsnorm(b.norm_out, b.embed_out, weights.attention_norm.floats(), s.norm_epsilon);
  matmul(pool_, query, b.norm_out, weights.query);
  matmul(pool_, key, b.norm_out, weights.key);
  matmul(pool_, value, b.norm_out, weights.value);
  rotate(query, b.rope_q_temp);
  rotate(key, b.rope_q_temp);
  attend(pool_, b.attn_out, query, b.scores.first(s.heads * (position + 1)), cache.keys.data(),
         cache.values.data(), s);
  matmul(pool_, b.o_proj_out, b.attn_out, weights.attention_out);
  add(b.embed_out, b.o_proj_out);

  rmsnorm(b.norm_out, b.embed_out, weights.ffn_norm.floats(), s.norm_epsilon);
  matmul(pool_, gate, b.norm_out, weights.gate);
  matmul(pool_, up, b.norm_out, weights.up);
  swiglu(gate, up);
  matmul(pool_, b.down_out, gate, weights.down);
  add(b.embed_out, b.down_out);
}

template class BasicDecoder<Layout>;
template class BasicDecoder<DeviceLayout>;

}  // namespace tapedeck::llama
