/// @file
/// What a decoder computes in: buffers and caches of a layout's plan, on the host or on a device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "llama/shape.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/layout/decode_buffers.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::llama {

/// As many elements of a planned buffer as a step writes: a plan may be for a wider batch.
/// @throws InvalidArgument where it has fewer.
template <class Span>
[[nodiscard]] Span first_of(Span planned, std::size_t elements, const char* name) {
  if (planned.size() >= elements) return planned.subspan(0, elements);
  throw InvalidArgument({.argument = name, .value = planned.size(), .limit = elements},
                        std::string("the layout's plan has too little room in ") + name,
                        "make the plan with LlamaModel::plan");
}

/// What the steps of a pass write, of exactly the size they write. All layers compute in the same,
/// warm, lines.
template <class Element, template <class> class SpanOf>
struct StepBuffers {
  using Span = SpanOf<Element>;

  StepBuffers(const DecodeBuffers<Element, SpanOf>& planned, const Shape& s)
      : hidden(first_of(planned.embed_out, s.dim, "decode.embed_out")),
        normed(first_of(planned.norm_out, s.dim, "decode.norm_out")),
        query_key_value(first_of(planned.qkv_out, s.query_dim() + s.key_dim() + s.value_dim(),
                                 "decode.qkv_out")),
        mixed(first_of(planned.attn_out, s.mixed_dim(), "decode.attn_out")),
        attention_out(first_of(planned.o_proj_out, s.dim, "decode.o_proj_out")),
        gate(first_of(planned.gate_up_out, 2 * s.ffn, "decode.gate_up_out").subspan(0, s.ffn)),
        up(planned.gate_up_out.subspan(s.ffn, s.ffn)),
        ffn_out(first_of(planned.down_out, s.dim, "decode.down_out")),
        final_normed(first_of(planned.final_norm_out, s.dim, "decode.final_norm_out")),
        logits(first_of(planned.logits, s.vocab, "decode.logits")) {}

  Span hidden;  ///< The residual stream.
  Span normed;
  Span query_key_value;
  Span mixed;  ///< Values, weighted by the scores.
  Span attention_out;
  Span gate;
  Span up;
  Span ffn_out;
  Span final_normed;
  Span logits;
};

/// [position][key_dim], and [position][value_dim].
template <class Span>
struct LayerCache {
  Span keys;
  Span values;
};

/// The caches of a talk, by layer. @throws InvalidArgument where the plan has none, or its rows are
/// not the model's: they are written where the kernels have them.
template <class Element, template <class> class SpanOf, class Side>
[[nodiscard]] std::vector<LayerCache<SpanOf<Element>>> caches_of(Side& side, const Shape& s,
                                                                 std::size_t talk) {
  const auto rows = [&](std::size_t layer, Part part, std::size_t width) {
    const PartId id = {.layer = static_cast<std::uint32_t>(layer), .part = part};
    const Region* const region = side.plan().history.find(id);
    if (region == nullptr) {
      throw InvalidArgument(
          {.argument = "layout", .value = layer},
          "the layout's plan has no K and V cache for layer " + std::to_string(layer));
    }
    const std::uint64_t row_bytes = width * sizeof(Element);
    if (region->growth.bytes_per_token != row_bytes) {
      throw InvalidArgument(
          {.argument = region->name, .value = region->growth.bytes_per_token, .limit = row_bytes},
          "the rows of the plan's region " + region->name +
              " are not the model's, in the type of its decode buffers");
    }
    return side.template history_at<Element>(*region, talk);
  };
  std::vector<LayerCache<SpanOf<Element>>> caches;
  caches.reserve(s.layers);
  for (std::size_t layer = 0; layer < s.layers; ++layer) {
    caches.push_back({.keys = rows(layer, Part::key_cache, s.key_dim()),
                      .values = rows(layer, Part::value_cache, s.value_dim())});
  }
  return caches;
}

}  // namespace tapedeck::llama
