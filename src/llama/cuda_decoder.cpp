#include "llama/cuda_decoder.hpp"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "base/on_failure.hpp"
#include "llama/cuda_kernels.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/cuda_launch.hpp"
#include "tapedeck/device/device_stream.hpp"
#include "tapedeck/device/pinned_tape.hpp"
#include "tapedeck/layout/decode_buffers.hpp"

namespace tapedeck::llama {
namespace {

/// What the kernels of a step write, of exactly the size they write.
template <class Element>
struct Buffers {
  DeviceSpan<Element> hidden;  ///< The residual stream.
  DeviceSpan<Element> normed;
  DeviceSpan<Element> query_key_value;
  AttentionPartials partials;
  DeviceSpan<Element> mixed;  ///< Values, weighted by the scores.
  DeviceSpan<Element> attention_out;
  DeviceSpan<Element> gate;
  DeviceSpan<Element> up;
  DeviceSpan<Element> ffn_out;
  DeviceSpan<Element> final_normed;
  DeviceSpan<Element> logits;
};

/// [position][key_dim], and [position][value_dim].
template <class Element>
struct Cache {
  DeviceSpan<Element> keys;
  DeviceSpan<Element> values;
};

// A plan may be for a wider batch.
template <class T>
DeviceSpan<T> first(DeviceSpan<T> buffer, std::size_t elements, const char* name) {
  if (buffer.size() >= elements) return buffer.subspan(0, elements);
  throw InvalidArgument(
      {.argument = "decode." + std::string(name), .value = buffer.size(), .limit = elements},
      "the layout's plan has too little room in decode." + std::string(name),
      "make the plan with LlamaModel::plan");
}

template <class Element>
Buffers<Element> buffers_of(DeviceLayout& layout, const Shape& s) {
  const DecodeBuffers<Element> planned(layout.scratch().data(), layout.plan().scratch);
  const std::size_t parts = s.heads * kAttentionParts;
  const DeviceSpan<Element> gate_up = first(planned.gate_up_out, 2 * s.ffn, "gate_up_out");
  return {.hidden = first(planned.embed_out, s.dim, "embed_out"),
          .normed = first(planned.norm_out, s.dim, "norm_out"),
          .query_key_value =
              first(planned.qkv_out, s.query_dim() + s.key_dim() + s.value_dim(), "qkv_out"),
          .partials = {.mixed = first(planned.flash_partial_out, parts * s.value_head(),
                                      "flash_partial_out")
                                    .data(),
                       .most = first(planned.flash_partial_m, parts, "flash_partial_m").data(),
                       .sum = first(planned.flash_partial_l, parts, "flash_partial_l").data()},
          .mixed = first(planned.attn_out, s.mixed_dim(), "attn_out"),
          .attention_out = first(planned.o_proj_out, s.dim, "o_proj_out"),
          .gate = gate_up.subspan(0, s.ffn),
          .up = gate_up.subspan(s.ffn, s.ffn),
          .ffn_out = first(planned.down_out, s.dim, "down_out"),
          .final_normed = first(planned.final_norm_out, s.dim, "final_norm_out"),
          .logits = first(planned.logits, s.vocab, "logits")};
}

template <class Element>
std::vector<Cache<Element>> caches_of(DeviceLayout& layout, const Shape& s, std::size_t talk) {
  const auto rows = [&](std::size_t index, Part part, std::size_t width) {
    const PartId id = {.layer = static_cast<std::uint32_t>(index), .part = part};
    const Region* region = layout.plan().history.find(id);
    if (region == nullptr) {
      throw InvalidArgument("the layout's plan has no K and V cache for layer " +
                            std::to_string(index));
    }
    // Rows are written where the kernels have them, so they must be the plan's.
    if (region->growth.bytes_per_token != width * sizeof(Element)) {
      throw InvalidArgument("the rows of the plan's region " + region->name +
                            " are not the model's, in the type of its decode buffers");
    }
    return layout.history_at<Element>(*region, talk);
  };
  std::vector<Cache<Element>> caches;
  caches.reserve(s.layers);
  for (std::size_t layer = 0; layer < s.layers; ++layer) {
    caches.push_back({.keys = rows(layer, Part::key_cache, s.key_dim()),
                      .values = rows(layer, Part::value_cache, s.value_dim())});
  }
  return caches;
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
  throw InvalidArgument("kernels for a GPU on the device " + device.label(), "open a CudaDevice");
}

}  // namespace

/// A step of a decoder, and what it needs, made once.
class CudaDecoder::Step {
 public:
  virtual ~Step() = default;
  /// Returns the logits.
  [[nodiscard]] virtual std::span<float> run(TokenId token, std::uint64_t position) = 0;
  /// Waits for what is on the stream, if it still runs.
  virtual void finish() noexcept = 0;
};

/// With activations and a KV cache of `Element`.
template <class Element>
class CudaDecoder::StepOf final : public Step {
 public:
  StepOf(const LlamaModel& model, DeviceModel& weights, DeviceLayout& layout, std::size_t talk,
         bool graph)
      : shape_(model.shape()),
        weights_(weights),
        device_(gpu_of(layout)),
        buffers_(buffers_of<Element>(layout, shape_)),
        caches_(caches_of<Element>(layout, shape_, talk)),
        replayed_(graph && weights.streamer().plan().token_bytes == 0) {
    if constexpr (!kArrivesAsF32) logits_.resize(shape_.vocab);
    const std::span<const float> turns = model.frequencies();
    const std::span<float> staged = pinned_.take<float>(turns.size());
    std::copy(turns.begin(), turns.end(), staged.begin());
    internal::OnFailure undo([&] { finish(); });  // before it goes, what the copy reads
    copy(frequencies_.data(), staged.data(), frequencies_.bytes());
    stream_.synchronize();
    undo.completed();
  }
  ~StepOf() override { finish(); }
  StepOf(const StepOf&) = delete;
  StepOf& operator=(const StepOf&) = delete;

  [[nodiscard]] std::span<float> run(TokenId token, std::uint64_t position) override {
    *input_.data() = {.token = token, .position = static_cast<std::uint32_t>(position)};
    copy(step_.data(), input_.data(), step_.bytes());
    put();
    copy(arrived_.data(), buffers_.logits.data(), arrived_.size_bytes());
    stream_.synchronize();
    return logits();
  }

  void finish() noexcept override {
    try {
      stream_.synchronize();
    } catch (const Error&) {
      // The device is gone, and what was on it.
    }
  }

 private:
  static constexpr bool kArrivesAsF32 = std::is_same_v<Element, float>;

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

  // The first step is launched by hand: what is loaded at a kernel's first launch cannot be while a
  // graph is captured.
  void put() {
    if (graph_) return graph_->launch(stream());
    put_kernels();
    if (replayed_) graph_.emplace(CudaGraph::capture(stream(), [this] { put_kernels(); }));
  }

  void put_kernels() {
    const Buffers<Element>& b = buffers_;
    const LlamaWeights& outer = weights_.outer();
    kernels_.embed(stream(), outer.token_embedding, step_.data(), b.hidden);
    for (std::size_t layer = 0; layer < shape_.layers; ++layer) put_acquired(layer);
    kernels_.rmsnorm(stream(), b.hidden, outer.final_norm, b.final_normed, shape_.norm_epsilon);
    kernels_.multiply(stream(), outer.classifier, b.final_normed, b.logits);
  }

  // A layer that stays is there, and nothing is put on the stream to acquire or release it.
  void put_acquired(std::size_t layer) {
    const LayerWeights weights = weights_.acquire(layer, stream());
    internal::OnFailure undo([&] { give_back(layer); });
    put_attention(weights, caches_[layer]);
    put_feed_forward(weights);
    undo.completed();
    weights_.release(layer, stream());
  }

  void give_back(std::size_t layer) noexcept {
    try {
      weights_.release(layer, stream());
    } catch (const Error&) {
      // What failed before is told.
    }
  }

  void put_attention(const LayerWeights& w, const Cache<Element>& cache) {
    const Buffers<Element>& b = buffers_;
    const std::size_t query_dim = shape_.query_dim();
    const std::size_t key_dim = shape_.key_dim();
    const std::size_t value_dim = shape_.value_dim();
    const DeviceSpan<Element>& all = b.query_key_value;
    const DeviceSpan<Element> query = all.subspan(0, query_dim);

    kernels_.rmsnorm(stream(), b.hidden, w.attention_norm, b.normed, shape_.norm_epsilon);
    kernels_.multiply(stream(), w.query, b.normed, query);
    kernels_.multiply(stream(), w.key, b.normed, all.subspan(query_dim, key_dim));
    kernels_.multiply(stream(), w.value, b.normed, all.subspan(query_dim + key_dim, value_dim));
    kernels_.rotate(stream(), all.subspan(0, query_dim + key_dim), frequencies_, step_.data());
    kernels_.append(stream(), all.subspan(query_dim, key_dim + value_dim), step_.data(), cache.keys,
                    cache.values, key_dim);
    kernels_.attend(stream(), query, cache.keys, cache.values, step_.data(), b.partials, b.mixed,
                    heads_);
    kernels_.multiply(stream(), w.attention_out, b.mixed, b.attention_out);
    kernels_.add(stream(), b.hidden, b.attention_out);
  }

  void put_feed_forward(const LayerWeights& w) {
    const Buffers<Element>& b = buffers_;
    kernels_.rmsnorm(stream(), b.hidden, w.ffn_norm, b.normed, shape_.norm_epsilon);
    kernels_.multiply(stream(), w.gate, b.normed, b.gate);
    kernels_.multiply(stream(), w.up, b.normed, b.up);
    kernels_.swiglu(stream(), b.gate, b.up);
    kernels_.multiply(stream(), w.down, b.gate, b.ffn_out);
    kernels_.add(stream(), b.hidden, b.ffn_out);
  }

  [[nodiscard]] StreamHandle stream() const noexcept { return stream_.handle(); }

  // Sums of what is taken below, of which each take is whole lines.
  [[nodiscard]] std::size_t pairs() const noexcept { return shape_.key_head() / 2; }
  [[nodiscard]] std::size_t device_bytes() const noexcept {
    return 2 * kDeviceLine + pairs() * sizeof(float);
  }
  [[nodiscard]] std::size_t pinned_bytes() const noexcept {
    return 3 * kLine + pairs() * sizeof(float) + shape_.vocab * sizeof(Element);
  }

  const Shape& shape_;
  DeviceModel& weights_;
  Device& device_;
  Buffers<Element> buffers_;
  std::vector<Cache<Element>> caches_;  // by layer
  bool replayed_;
  AttentionHeads heads_ = heads_of(shape_);

  CurrentDevice current_{device_};
  CudaKernels<Element> kernels_;
  DeviceTape own_ = DeviceTape::start(device_, device_bytes(), {.name = "decoder"});
  Tape pinned_ = start_pinned(device_, pinned_bytes(), {.name = "decoder, pinned"});
  DeviceSpan<StepInput> step_ = own_.take<StepInput>(1);
  DeviceSpan<float> frequencies_ = own_.take<float>(pairs());
  std::span<StepInput> input_ = pinned_.take<StepInput>(1);
  std::span<Element> arrived_ = pinned_.take<Element>(shape_.vocab);  // the logits,
  std::vector<float> logits_;  // and in f32, where they are not already
  DeviceStream stream_{device_};
  std::optional<CudaGraph> graph_;
};

std::string CudaDecoder::missing() { return {}; }

std::unique_ptr<CudaDecoder::Step> CudaDecoder::make_step(const LlamaModel& model,
                                                          DeviceModel& weights,
                                                          DeviceLayout& layout, std::size_t talk,
                                                          const CudaDecoderOptions& options) {
  const Region* const any = layout.plan().scratch.find("decode.embed_out");
  if (any != nullptr && any->dtype == DType::f16) {
    return std::make_unique<StepOf<Float16>>(model, weights, layout, talk, options.graph);
  }
  // Or it says what it would have needed.
  return std::make_unique<StepOf<float>>(model, weights, layout, talk, options.graph);
}

CudaDecoder::CudaDecoder(const LlamaModel& model, DeviceModel& weights, DeviceLayout& layout,
                         Layout* whole, std::size_t talk, const CudaDecoderOptions& options)
    : shape_(model.shape()),
      layout_(layout),
      whole_(whole),
      talk_(layout.talk(talk)),
      step_(make_step(model, weights, layout, talk, options)) {}

CudaDecoder::~CudaDecoder() = default;

std::span<float> CudaDecoder::forward(TokenId token) {
  assert(token < shape_.vocab);
  const std::uint64_t position = talk_.advance();
  internal::OnFailure undo([&] {
    step_->finish();
    talk_.rewind(1);
  });
  const std::span<float> logits = step_->run(token, position);
  undo.completed();
  return logits;
}

}  // namespace tapedeck::llama
