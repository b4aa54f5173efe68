#include "llama/decoder.hpp"

#include <cassert>
#include <string>

#include "base/on_failure.hpp"
#include "llama/kernels.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/layout/decode_buffers.hpp"

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
struct BasicDecoder<Side>::Pass {
  std::size_t position;

  [[nodiscard]] std::size_t positions() const noexcept { return position + 1; }
};

template <class Side>
BasicDecoder<Side>::BasicDecoder(const LlamaModel& model, Layout& layout, ThreadPool& pool,
                                 std::size_t talk, LayerFeed* feed)
    : shape_(model.shape()),
      own_feed_(model),
      feed_(feed != nullptr ? *feed : own_feed_),
      frequencies_(model.frequencies()),
      layout_(layout),
      places_(Side::side_of(layout)),
      pool_(pool),
      talk_(places_.talk(talk)) {
  find_buffers();
  find_caches();
}

template <class Side>
void BasicDecoder<Side>::find_buffers() {
  const HostDecodeBuffers<float> planned(places_.scratch().data(), places_.plan().scratch);
  // A plan may be for a wider batch.
  const auto first = [](std::span<float> buffer, std::size_t elements, const char* name) {
    if (buffer.size() >= elements) return buffer.first(elements);
    throw InvalidArgument(
        {.argument = "decode." + std::string(name), .value = buffer.size(), .limit = elements},
        "the layout's plan has too little room in decode." + std::string(name),
        "make the plan with LlamaModel::plan");
  };
  const Shape& s = shape_;
  const std::span<float> gate_up = first(planned.gate_up_out, 2 * s.ffn, "gate_up_out");
  buffers_ = {.hidden = first(planned.embed_out, s.dim, "embed_out"),
              .normed = first(planned.norm_out, s.dim, "norm_out"),
              .query = first(planned.qkv_out, s.query_dim(), "qkv_out"),
              .rotation = first(planned.rope_q_temp, s.key_head(), "rope_q_temp"),
              .scores = first(planned.scores, s.heads * places_.plan().context_per_talk, "scores"),
              .mixed = first(planned.attn_out, s.mixed_dim(), "attn_out"),
              .attention_out = first(planned.o_proj_out, s.dim, "o_proj_out"),
              .gate = gate_up.first(s.ffn),
              .up = gate_up.last(s.ffn),
              .ffn_out = first(planned.down_out, s.dim, "down_out"),
              .final_normed = first(planned.final_norm_out, s.dim, "final_norm_out"),
              .logits = first(planned.logits, s.vocab, "logits")};
}

template <class Side>
void BasicDecoder<Side>::find_caches() {
  caches_.reserve(shape_.layers);
  const auto rows = [&](std::size_t layer, Part part) {
    const PartId id = {.layer = static_cast<std::uint32_t>(layer), .part = part};
    const Region* region = places_.plan().history.find(id);
    if (region == nullptr) {
      throw InvalidArgument("the layout's plan has no K and V cache for layer " +
                            std::to_string(layer));
    }
    return on_host(places_.template history_at<float>(*region, talk_.index()));
  };
  for (std::size_t layer = 0; layer < shape_.layers; ++layer) {
    caches_.push_back(
        {.keys = rows(layer, Part::key_cache), .values = rows(layer, Part::value_cache)});
  }
}

template <class Side>
std::size_t BasicDecoder<Side>::position() const {
  return talk_.tokens();
}

template <class Side>
std::span<float> BasicDecoder<Side>::forward(TokenId token) {
  assert(token < shape_.vocab);
  const std::size_t position = this->position();
  const Pass pass{.position = position};
  static_cast<void>(talk_.advance());
  internal::OnFailure undo([&] { talk_.rewind(1); });

  const Buffers& b = buffers_;
  wait_for(0);
  copy_row(b.hidden, feed_.outer().token_embedding, token);
  rotation_at(b.rotation, frequencies_, position);
  for (std::size_t layer = 0; layer < shape_.layers; ++layer) {
    wait_for(1 + layer);
    run_layer(layer, pass);
  }
  wait_for(1 + shape_.layers);
  rmsnorm(b.final_normed, b.hidden, feed_.outer().final_norm, shape_.norm_epsilon);
  matmul(pool_, b.logits, b.final_normed, feed_.outer().classifier);
  ready_ = nullptr;
  undo.completed();
  return b.logits;
}

// All layers compute in the same, warm, lines.
template <class Side>
void BasicDecoder<Side>::run_layer(std::size_t layer, const Pass& pass) {
  const Buffers& b = buffers_;
  const LayerWeights& w = feed_.acquire(layer);
  const Cache& cache = caches_[layer];
  const std::size_t key_dim = shape_.key_dim();
  const std::size_t value_dim = shape_.value_dim();

  rmsnorm(b.normed, b.hidden, w.attention_norm, shape_.norm_epsilon);
  const std::span<float> key = cache.keys.subspan(pass.position * key_dim, key_dim);
  const std::span<float> value = cache.values.subspan(pass.position * value_dim, value_dim);
  matmul(pool_, b.query, b.normed, w.query);
  matmul(pool_, key, b.normed, w.key);
  matmul(pool_, value, b.normed, w.value);
  rotate(b.query, b.rotation);
  rotate(key, b.rotation);
  attend(pool_, b.mixed, b.query, b.scores.first(shape_.heads * pass.positions()),
         {.keys = cache.keys.data(),
          .values = cache.values.data(),
          .key_stride = key_dim,
          .value_stride = value_dim,
          .positions = pass.positions()},
         {.heads = shape_.heads, .kv_heads = shape_.kv_heads});
  matmul(pool_, b.attention_out, b.mixed, w.attention_out);
  add(b.hidden, b.attention_out);

  rmsnorm(b.normed, b.hidden, w.ffn_norm, shape_.norm_epsilon);
  matmul(pool_, b.gate, b.normed, w.gate);
  matmul(pool_, b.up, b.normed, w.up);
  swiglu(b.gate, b.up);
  matmul(pool_, b.ffn_out, b.gate, w.down);
  add(b.hidden, b.ffn_out);
  feed_.release(layer);
}

template class BasicDecoder<OnHost>;
template class BasicDecoder<OnDevice>;

}  // namespace tapedeck::llama
