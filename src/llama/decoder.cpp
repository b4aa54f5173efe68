#include "llama/decoder.hpp"

#include <cassert>

#include "llama/kernels.hpp"

namespace tapedeck::llama {
namespace {

// A device's memory is the host's here.
template <class T>
std::span<T> on_host(std::span<T> memory) noexcept {
  return memory;
}
template <class T>
std::span<T> on_host(DeviceSpan<T> memory) noexcept {
  return {memory.data(), memory.size()};
}

}  // namespace

template <class Side>
BasicDecoder<Side>::BasicDecoder(const LlamaModel& model, Layout& layout, ThreadPool& pool,
                                 std::size_t talk, DeviceFeed* feed)
    : shape_(model.shape()),
      weights_(model.arrays()),
      feed_(feed),
      frequencies_(model.frequencies()),
      layout_(layout),
      places_(Side::side_of(layout)),
      pool_(pool),
      talk_(places_.talk(talk)),
      planned_(places_.scratch().data(), places_.plan().scratch),
      buffers_(planned_, shape_),
      rotation_(first_of(planned_.rope_q_temp, shape_.key_head(), "decode.rope_q_temp")),
      scores_(first_of(planned_.scores, shape_.heads * places_.plan().context_per_talk,
                       "decode.scores")),
      caches_(caches_of<float, Side::template SpanOf>(places_, shape_, talk)) {}

template <class Side>
std::span<float> BasicDecoder<Side>::forward(TokenId token) {
  assert(token < shape_.vocab);
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

template <class Side>
void BasicDecoder<Side>::run_pass(TokenId token, std::size_t position) {
  wait_for(0);
  copy_row(buffers_.hidden, outer().token_embedding, token);
  rotation_at(rotation_, frequencies_, position);
  for (std::size_t layer = 0; layer < shape_.layers; ++layer) {
    wait_for(1 + layer);
    run_layer(feed_ != nullptr ? feed_->acquire(layer) : weights_.layers[layer], layer, position);
    if (feed_ != nullptr) feed_->release(layer);
  }
  wait_for(1 + shape_.layers);
  rmsnorm(buffers_.final_normed, buffers_.hidden, outer().final_norm.floats(), shape_.norm_epsilon);
  matmul(pool_, buffers_.logits, buffers_.final_normed, outer().classifier);
}

template <class Side>
void BasicDecoder<Side>::run_layer(const LayerWeights& weights, std::size_t layer,
                                   std::size_t position) {
  const auto& b = buffers_;
  const std::size_t key_dim = shape_.key_dim();
  const std::size_t value_dim = shape_.value_dim();
  const std::span<float> keys = on_host(caches_[layer].keys);
  const std::span<float> values = on_host(caches_[layer].values);
  const std::span<float> query = b.query_key_value.first(shape_.query_dim());
  const std::span<float> key = keys.subspan(position * key_dim, key_dim);

  rmsnorm(b.normed, b.hidden, weights.attention_norm.floats(), shape_.norm_epsilon);
  matmul(pool_, query, b.normed, weights.query);
  matmul(pool_, key, b.normed, weights.key);
  matmul(pool_, values.subspan(position * value_dim, value_dim), b.normed, weights.value);
  rotate(query, rotation_);
  rotate(key, rotation_);
  attend(pool_, b.mixed, query, scores_.first(shape_.heads * (position + 1)), keys.data(),
         values.data(), shape_);
  matmul(pool_, b.attention_out, b.mixed, weights.attention_out);
  add(b.hidden, b.attention_out);

  rmsnorm(b.normed, b.hidden, weights.ffn_norm.floats(), shape_.norm_epsilon);
  matmul(pool_, b.gate, b.normed, weights.gate);
  matmul(pool_, b.up, b.normed, weights.up);
  swiglu(b.gate, b.up);
  matmul(pool_, b.ffn_out, b.gate, weights.down);
  add(b.hidden, b.ffn_out);
}

template class BasicDecoder<OnHost>;
template class BasicDecoder<OnDevice>;

}  // namespace tapedeck::llama
