#include "cli/streaming_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/json.hpp"
#include "cli/figures.hpp"
#include "cli/plan_text.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/fit/streaming_config.hpp"

namespace tapedeck::cli {
namespace {

/// Sums of the device's regions.
struct Parts {
  std::uint64_t outer = 0;
  std::uint64_t resident = 0;
  std::uint64_t slots = 0;
};

Parts parts_of(const StreamingPlan& streaming) {
  const auto regions = streaming.device.regions();
  Parts parts;
  for (const StreamingPlan::Outer& outer : streaming.outer) {
    parts.outer += regions[outer.region].bytes;
  }
  for (const StreamedLayer& layer : streaming.layers) {
    if (layer.resident) parts.resident += layer.bytes;
  }
  parts.slots = streaming.slots * streaming.slot_bytes();
  return parts;
}

// Dense layers of full attention, all alike, whose heads share out the residual stream. A model
// without layers has no plan.
bool is_of_closed_form(const ModelShape& shape) {
  const LayerShape& first = shape.layers.front();
  const LayerShape dense = {.attention = Attention::full,
                            .heads = first.heads,
                            .kv_heads = first.kv_heads,
                            .key_dim = first.key_dim,
                            .value_dim = first.key_dim,
                            .ffn = first.ffn};
  const bool shared_out = dense.heads != 0 && shape.hidden % dense.heads == 0 &&
                          shape.hidden / dense.heads == dense.key_dim;
  return shared_out && std::all_of(shape.layers.begin(), shape.layers.end(),
                                   [&](const LayerShape& layer) { return layer == dense; });
}

std::optional<std::uint64_t> closed_form(const ModelShape& shape, const Plan& plan) {
  if (!is_of_closed_form(shape)) return std::nullopt;
  const LayerShape& layer = shape.layers.front();
  const StreamingConfig config = {.hidden_dim = shape.hidden,
                                  .num_layers = shape.layers.size(),
                                  .num_heads = layer.heads,
                                  .num_kv_heads = layer.kv_heads,
                                  .vocab_size = shape.vocabulary,
                                  .intermediate_dim = layer.ffn,
                                  .max_seq_len = plan.context_per_talk,
                                  .tied_embeddings = shape.tied};
  try {
    return config.streaming_bytes();
  } catch (const InvalidArgument&) {
    return std::nullopt;
  }
}

}  // namespace

std::string streaming_text(const Model& model, const Plan& plan, const StreamingPlan& streaming) {
  const Parts parts = parts_of(streaming);
  const std::uint64_t layers = streaming.layers.size();
  const std::uint64_t resident = streaming.resident_layers();
  std::string text = "\nlayer streaming\n";
  text += size_line("device", streaming.device.bytes(), "weights, with padding");
  text += size_line("  outer", parts.outer,
                    fmt::format("{} tensors of no layer", streaming.outer.size()));
  text += size_line("  resident", parts.resident,
                    fmt::format("{} of {} layers stay", resident, layers));
  text += size_line("  slots", parts.slots,
                    streaming.slots == 0
                        ? "no layer takes turns"
                        : fmt::format("{} of {}, in which {} layers take turns", streaming.slots,
                                      to_iec(streaming.slot_bytes()), layers - resident));
  text += size_line("staging", streaming.staging.payload(),
                    fmt::format("{} pinned buffers, for weights that are not pinned",
                                streaming.staging.regions().size()));
  text += size_line("token", streaming.token_bytes, "copied for each");
  text += size_line("one slot", streaming.one_slot_bytes, "the device's weights, no layer staying");
  if (const std::optional<std::uint64_t> estimate = closed_form(model.shape, plan)) {
    text += size_line("closed form", *estimate, "StreamingConfig: one slot, K and V; all in f32");
  }
  return text;
}

nlohmann::ordered_json streaming_json(const Model& model, const Plan& plan,
                                      const StreamingPlan& streaming) {
  const Parts parts = parts_of(streaming);
  return {{"device", streaming.device.bytes()},
          {"outer", parts.outer},
          {"resident", parts.resident},
          {"resident_layers", streaming.resident_layers()},
          {"layers", streaming.layers.size()},
          {"slots", streaming.slots},
          {"slot_bytes", streaming.slot_bytes()},
          {"staging", streaming.staging.payload()},
          {"staging_buffers", streaming.staging.regions().size()},
          {"token_bytes", streaming.token_bytes},
          {"one_slot", streaming.one_slot_bytes},
          {"closed_form", internal::number_json(closed_form(model.shape, plan))}};
}

}  // namespace tapedeck::cli
