// SPDX-License-Identifier: Apache-2.0
#include "llama/cuda_decoder.hpp"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "llama/cuda_kernels.hpp"
#include "llama/step_buffers.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/cuda_launch.hpp"
#include "tapedeck/device/device_stream.hpp"
#include "tapedeck/device/pinned_tape.hpp"

namespace tapedeck::llama {
namespace {

// The buffers of a step, and those of attention's parts, which only a GPU uses.
template <class Element>
DecodeBuffers<Element> gpu_buffers(DeviceLayout& layout, const Shape& s) {
  auto buffers = step_buffers<Element, DeviceSpan>(layout, s);
  const std::size_t parts = s.heads * kAttentionParts;
  cut(buffers.flash_partial_out, parts * s.value_head(), "decode.flash_partial_out");
  cut(buffers.flash_partial_m, parts, "decode.flash_partial_m");
  cut(buffers.flash_partial_l, parts, "decode.flash_partial_l");
  return buffers;
}

AttentionHeads heads_of(const Shape& s) {
  const auto count = [](std::size_t n) { return static_cast<unsigned>(n); };
  return {.heads = count(s.heads),
          .kv_heads = count(s.kv_heads),
          .key_size = count(s.key_head()),
          .value_size = count(s.value_head())};
}

Device& gpu_of(const DeviceLayout& layout) {
  Device& device = layout.device();
  if (device.info().kind == DeviceKind::cuda) return device;
  throw InvalidArgument({.argument = "layout"},
                        "the decoder needs a GPU, but the layout's device is " + device.label(),
                        "open a CudaDevice");
}

/// Decodes with activations and a KV cache of type `Element`.
template <class Element>
class CudaDecoder final : public TalkDecoder {
 public:
  CudaDecoder(const LlamaModel& model, DeviceModel& weights, Layout& layout, std::size_t talk,
              bool graph)
      : shape_(model.shape()),
        weights_(weights),
        layout_(layout),
        talk_(layout.gpu(0).talk(talk)),
        device_(gpu_of(layout.gpu(0))),
        buffers_(gpu_buffers<Element>(layout.gpu(0), shape_)),
        caches_(caches_of<Element>(layout.gpu(0), shape_, talk)),
        replayed_(graph && weights.streamer().plan().token_bytes == 0) {
    if constexpr (!kArrivesAsF32) logits_.resize(shape_.vocab);
    try {
      copy(frequencies_.data(), model.frequencies().data(), frequencies_.bytes());
      stream_.synchronize();
    } catch (...) {
      finish();  // the copy must end before its destination is destroyed
      throw;
    }
  }
  ~CudaDecoder() override { finish(); }
  CudaDecoder(const CudaDecoder&) = delete;
  CudaDecoder& operator=(const CudaDecoder&) = delete;

  [[nodiscard]] std::span<float> forward(TokenId token) override {
    assert(token < shape_.vocab);
    const std::uint64_t position = talk_.advance();
    try {
      return run(token, position);
    } catch (...) {
      finish();
      talk_.rewind(1);
      throw;
    }
  }
  [[nodiscard]] std::size_t position() const override { return talk_.tokens(); }
  [[nodiscard]] const Shape& shape() const noexcept override { return shape_; }
  void prepare(std::uint64_t tokens) override { talk_.prepare(tokens); }
  void rewind(std::uint64_t tokens) override { talk_.rewind(tokens); }
  void clear_pass() override { layout_.clear_pass(); }
  void clear_talk() override { layout_.clear_talk(talk_.index()); }

 private:
  static constexpr bool kArrivesAsF32 = std::is_same_v<Element, float>;

  [[nodiscard]] std::span<float> run(TokenId token, std::uint64_t position) {
    *input_.data() = {.token = token, .position = static_cast<std::uint32_t>(position)};
    copy(step_.data(), input_.data(), step_.bytes());
    put_step();
    copy(arrived_.data(), buffers_.logits.data(), arrived_.size_bytes());
    stream_.synchronize();
    return logits();
  }

  // Ignores errors. They follow from an earlier error, which is reported, or the device is lost and
  // with it everything on it.
  static void try_to(auto call) noexcept {
    try {
      call();
    } catch (const Error&) {
    }
  }

  // Waits for the work on the stream, if the stream still runs.
  void finish() noexcept {
    try_to([this] { stream_.synchronize(); });
  }

  [[nodiscard]] std::span<float> logits() noexcept {
    if constexpr (kArrivesAsF32) {
      return arrived_;
    } else {
      std::transform(arrived_.begin(), arrived_.end(), logits_.begin(),
                     [](Element one) { return to_float(one); });
      return logits_;
    }
  }

  void copy(void* to, const void* from, std::size_t bytes) {
    device_.copy(static_cast<std::byte*>(to), static_cast<const std::byte*>(from), bytes, stream());
  }

  // The first step is launched without a graph, because modules are loaded at a kernel's first
  // launch, which cannot happen during a capture.
  void put_step() {
    if (graph_) return graph_->launch(stream());
    put_kernels();
    if (replayed_) graph_.emplace(CudaGraph::capture(stream(), [this] { put_kernels(); }));
  }

  void put_kernels() {
    const auto& b = buffers_;
    const LlamaWeights& outer = weights_.outer();
    kernels_.embed(outer.token_embedding, b.embed_out);
    for (std::size_t layer = 0; layer < shape_.layers; ++layer) put_acquired(layer);
    kernels_.rmsnorm(b.embed_out, outer.final_norm.floats(), b.final_norm_out, shape_.norm_epsilon);
    kernels_.multiply(outer.classifier, b.final_norm_out, b.logits);
  }

  // Acquiring or releasing a resident layer puts nothing on the stream.
  void put_acquired(std::size_t layer) {
    const LayerWeights weights = weights_.acquire(layer, stream());
    try {
      put_attention(weights, caches_[layer]);
      put_feed_forward(weights);
    } catch (...) {
      try_to([&] { weights_.release(layer, stream()); });
      throw;
    }
    weights_.release(layer, stream());
  }

  void put_attention(const LayerWeights& w, const LayerCache<DeviceSpan<Element>>& cache) {
    const auto& b = buffers_;
    const std::size_t query_dim = shape_.query_dim();
    const std::size_t key_dim = shape_.key_dim();
    const std::size_t value_dim = shape_.value_dim();
    const DeviceSpan<Element>& all = b.qkv_out;
    const DeviceSpan<Element> query = all.subspan(0, query_dim);
    const AttentionPartials partials = {.mixed = b.flash_partial_out.data(),
                                        .most = b.flash_partial_m.data(),
                                        .sum = b.flash_partial_l.data()};

    kernels_.rmsnorm(b.embed_out, w.attention_norm.floats(), b.norm_out, shape_.norm_epsilon);
    kernels_.multiply(w.query, b.norm_out, query);
    kernels_.multiply(w.key, b.norm_out, all.subspan(query_dim, key_dim));
    kernels_.multiply(w.value, b.norm_out, all.subspan(query_dim + key_dim, value_dim));
    kernels_.rotate(all.subspan(0, query_dim + key_dim), frequencies_);
    kernels_.append(all.subspan(query_dim, key_dim + value_dim), cache.keys, cache.values, key_dim);
    kernels_.attend(query, cache.keys, cache.values, partials, b.attn_out, heads_of(shape_));
    kernels_.multiply(w.attention_out, b.attn_out, b.o_proj_out);
    kernels_.add(b.embed_out, b.o_proj_out);
  }

  void put_feed_forward(const LayerWeights& w) {
    const auto& b = buffers_;
    const DeviceSpan<Element> gate = b.gate_up_out.subspan(0, shape_.ffn);
    const DeviceSpan<Element> up = b.gate_up_out.subspan(shape_.ffn, shape_.ffn);

    kernels_.rmsnorm(b.embed_out, w.ffn_norm.floats(), b.norm_out, shape_.norm_epsilon);
    kernels_.multiply(w.gate, b.norm_out, gate);
    kernels_.multiply(w.up, b.norm_out, up);
    kernels_.swiglu(gate, up);
    kernels_.multiply(w.down, gate, b.down_out);
    kernels_.add(b.embed_out, b.down_out);
  }

  [[nodiscard]] StreamHandle stream() const noexcept { return stream_.handle(); }

  [[nodiscard]] std::size_t pairs() const noexcept { return shape_.key_head() / 2; }

  const Shape& shape_;
  DeviceModel& weights_;
  Layout& layout_;
  DeviceTalk talk_;
  Device& device_;
  DecodeBuffers<Element> buffers_;
  std::vector<LayerCache<DeviceSpan<Element>>> caches_;
  bool replayed_;

  CurrentDevice current_{device_};
  // Each tape has room for two takes, in whole lines.
  DeviceTape own_ =
      DeviceTape::start(device_, 2 * kDeviceLine + pairs() * sizeof(float), {.name = "decoder"});
  Tape pinned_ = start_pinned(device_, 2 * kLine + shape_.vocab * sizeof(Element),
                              {.name = "decoder, pinned"});
  DeviceSpan<StepInput> step_ = own_.take<StepInput>(1);
  DeviceSpan<float> frequencies_ = own_.take<float>(pairs());
  std::span<StepInput> input_ = pinned_.take<StepInput>(1);
  std::span<Element> arrived_ = pinned_.take<Element>(shape_.vocab);  // the logits
  std::vector<float> logits_;  // the logits in f32, if `arrived_` has another type
  DeviceStream stream_{device_};
  CudaKernels<Element> kernels_{stream(), step_.data()};
  std::optional<CudaGraph> graph_;
};

}  // namespace

std::string cuda_decoder_missing() { return {}; }

std::unique_ptr<TalkDecoder> make_cuda_decoder(const LlamaModel& model, DeviceModel& weights,
                                               Layout& layout, std::size_t talk,
                                               const CudaDecoderOptions& options) {
  const Region* const any = layout.gpu(0).plan().scratch.find("decode.embed_out");
  if (any != nullptr && any->dtype == DType::f16) {
    return std::make_unique<CudaDecoder<Float16>>(model, weights, layout, talk, options.graph);
  }
  // If the plan has no such region, this constructor throws an error that names it.
  return std::make_unique<CudaDecoder<float>>(model, weights, layout, talk, options.graph);
}

}  // namespace tapedeck::llama
