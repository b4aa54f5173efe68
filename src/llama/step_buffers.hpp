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

/// Lets a planned buffer end with what a step writes: a plan may be for a wider batch.
/// @throws InvalidArgument where the buffer is smaller.
template <class Span>
void cut(Span& planned, std::size_t elements, const char* name) {
  if (planned.size() < elements) {
    throw InvalidArgument({.argument = name, .value = planned.size(), .limit = elements},
                          std::string("the layout's plan has too little room in ") + name,
                          "make the plan with LlamaModel::plan");
  }
  planned = planned.subspan(0, elements);
}

/// What the steps of a pass write: the decode buffers of a side's plan. Those that all decoders use
/// are of exactly the size they write; `embed_out` is the residual stream, and `attn_out` the
/// values, weighted by the scores. All layers compute in the same, warm, lines.
/// @throws as `cut`
template <class Element, template <class> class SpanOf, class Side>
[[nodiscard]] DecodeBuffers<Element, SpanOf> step_buffers(Side& side, const Shape& s) {
  DecodeBuffers<Element, SpanOf> b(side.scratch().data(), side.plan().scratch);
  cut(b.embed_out, s.dim, "decode.embed_out");
  cut(b.norm_out, s.dim, "decode.norm_out");
  cut(b.qkv_out, s.query_dim() + s.key_dim() + s.value_dim(), "decode.qkv_out");
  cut(b.attn_out, s.mixed_dim(), "decode.attn_out");
  cut(b.o_proj_out, s.dim, "decode.o_proj_out");
  cut(b.gate_up_out, 2 * s.ffn, "decode.gate_up_out");
  cut(b.down_out, s.dim, "decode.down_out");
  cut(b.final_norm_out, s.dim, "decode.final_norm_out");
  cut(b.logits, s.vocab, "decode.logits");
  return b;
}

/// [position][key_dim], and [position][value_dim].
template <class Span>
struct LayerCache {
  Span keys;
  Span values;
};

/// The caches of a talk, by layer. @throws InvalidArgument where the plan has none, or its rows are
/// not the model's: they are written where the kernels have them.
template <class Element, class Side>
[[nodiscard]] auto caches_of(Side& side, const Shape& s, std::size_t talk) {
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
  std::vector<LayerCache<typename Side::template SpanOf<Element>>> caches;
  caches.reserve(s.layers);
  for (std::size_t layer = 0; layer < s.layers; ++layer) {
    caches.push_back({.keys = rows(layer, Part::key_cache, s.key_dim()),
                      .values = rows(layer, Part::value_cache, s.value_dim())});
  }
  return caches;
}

}  // namespace tapedeck::llama
