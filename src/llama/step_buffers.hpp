// SPDX-License-Identifier: Apache-2.0
/// @file
/// The memory that a decoder computes in: the buffers and caches of a layout's plan, on the host or
/// on a device.
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

/// Shortens a planned buffer to the elements that a step writes, since a plan may be for a larger
/// batch. @throws InvalidArgument if the buffer is too small.
template <class Span>
void cut(Span& planned, std::size_t elements, const char* name) {
  if (planned.size() < elements) {
    throw InvalidArgument({.argument = name, .value = planned.size(), .limit = elements},
                          std::string("the layout's plan has too few elements in ") + name + ": " +
                              std::to_string(planned.size()) + ", but the model needs " +
                              std::to_string(elements),
                          "make the plan with LlamaModel::plan");
  }
  planned = planned.subspan(0, elements);
}

/// The decode buffers of a side's plan, which the steps of a pass write to. Those that all decoders
/// use are shortened to what is written. `embed_out` is the residual stream, and `attn_out` holds
/// the values weighted by the scores. All layers compute in the same buffers, which stay in the
/// cache.
/// @throws InvalidArgument if a buffer is too small.
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

/// The K and V caches of one layer: [position][key_dim] and [position][value_dim].
template <class Span>
struct LayerCache {
  Span keys;
  Span values;
};

/// The caches of a talk, by layer.
/// @throws InvalidArgument if the plan lacks a cache, or if its rows do not have the size that the
/// kernels use.
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
          "the rows of the plan's region " + region->name + " have " +
              std::to_string(region->growth.bytes_per_token) +
              " bytes, but the model's rows have " + std::to_string(row_bytes) +
              " bytes in the type of its decode buffers");
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
