// SPDX-License-Identifier: Apache-2.0
#include "cli/plan_text.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/amounts.hpp"
#include "base/json.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/fit/streaming_config.hpp"

namespace tapedeck::cli {
namespace {

using Json = nlohmann::ordered_json;
using internal::count_of;
using internal::number_json;

std::string layer_kind(const LayerShape& layer) {
  constexpr std::array attentions = {"", "full", "window {}", "chunk {}", "latent {}"};
  std::string kind =
      fmt::format(fmt::runtime(attentions[static_cast<std::size_t>(layer.attention)]),
                  layer.attention == Attention::latent ? layer.key_dim : layer.window);
  const auto append_part = [&kind](const std::string& part) {
    kind += (kind.empty() ? "" : " + ") + part;
  };
  if (layer.recurrence != Recurrence::none) append_part(to_string(layer.recurrence));
  if (kind.empty()) return "without attention";
  if (layer.indexer_dim != 0) append_part(fmt::format("indexer {}", layer.indexer_dim));
  if (layer.shares_cache) kind += ", shared KV";
  return kind;
}

// "8.03 B", "494 M", "260 K".
std::string count_text(std::uint64_t count) {
  constexpr std::array<std::pair<double, const char*>, 4> units = {
      {{1e12, " T"}, {1e9, " B"}, {1e6, " M"}, {1e3, " K"}}};
  for (const auto& [unit, name] : units) {
    const double scaled = static_cast<double>(count) / unit;
    if (scaled >= 1) return fmt::format("{:.{}f}{}", scaled, scaled < 100 ? 2 : 0, name);
  }
  return std::to_string(count);
}

// "28 layers full, 20 layers window 1024".
std::string layer_kinds(const ModelShape& shape) {
  std::vector<std::pair<std::string, std::size_t>> kinds;  // in the order of the layers
  for (const LayerShape& layer : shape.layers) {
    const std::string kind = layer_kind(layer);
    auto at = std::ranges::find(kinds, kind, &std::pair<std::string, std::size_t>::first);
    if (at == kinds.end()) at = kinds.insert(at, {kind, 0});
    ++at->second;
  }
  std::string text;
  for (const auto& [kind, count] : kinds) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count_of(count, "layer"), kind);
  }
  return text;
}

// The number of elements of the tensors if there are any, else what the architecture implies.
// Quantized tensors may hold several parameters in an element, or be scales.
std::optional<std::uint64_t> parameters_of(const Model& model) {
  const bool packed = !model.shape.quantization.method.empty();
  if (!model.tensors.empty() && !packed) return model.tensors.elements();
  return model.shape.parameter_count();
}

// A figure of a shape, where 0 means that the model's files do not state it.
std::optional<std::uint64_t> stated(std::uint64_t figure) {
  return figure == 0 ? std::nullopt : std::optional(figure);
}

std::string stated_text(std::uint64_t figure) { return figure == 0 ? "?" : std::to_string(figure); }

// A line of a table: "weights           1.2 GiB   290 regions".
std::string size_line(std::string_view name, std::optional<std::uint64_t> bytes,
                      const std::string& note = {}) {
  return fmt::format("{:<14}{:>11}{}{}\n", name, size_text(bytes), note.empty() ? "" : "   ", note);
}

// "OpenBLAS, 8 calling threads; 1 GiB of addresses".
std::string foreign_note(const ForeignMemory& library) {
  std::string note = printable(library.name);
  if (library.addresses != 0) note += "; " + to_iec(library.addresses) + " of addresses";
  return note;
}

// Bytes of the device's regions by their kind.
struct StreamingParts {
  std::uint64_t outer = 0;
  std::uint64_t resident = 0;
  std::uint64_t slots = 0;
};

StreamingParts streaming_parts(const StreamingPlan& streaming) {
  StreamingParts parts;
  for (const Region& region : streaming.device.regions().first(streaming.outer.size())) {
    parts.outer += region.bytes;
  }
  for (const StreamedLayer& layer : streaming.layers) {
    if (layer.resident) parts.resident += layer.bytes;
  }
  parts.slots = streaming.slots * streaming.slot_bytes();
  return parts;
}

// Whether all layers are equal and dense, have full attention, and have heads that divide the
// residual stream among them. The model has layers, or it would have no plan.
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

// All planned tapes with their names.
std::vector<std::pair<const char*, const TapePlan*>> tapes_of(
    const Plan& plan, const std::optional<StreamingPlan>& streaming) {
  std::vector<std::pair<const char*, const TapePlan*>> tapes = {
      {"weights", &plan.weights}, {"scratch", &plan.scratch}, {"history", &plan.history}};
  if (streaming) {
    tapes.insert(tapes.end(), {{"device", &streaming->device}, {"staging", &streaming->staging}});
  }
  return tapes;
}

Json region_json(const Region& region) {
  Json json = {{"name", region.name},           {"role", to_string(region.role)},
               {"offset", region.offset},       {"bytes", region.bytes},
               {"alignment", region.alignment}, {"type", to_string(region.dtype)},
               {"shape", region.shape}};
  if (region.live != Live{}) json["live"] = {region.live.begin, region.live.end};
  if (region.growth.bytes_per_token != 0) {
    json["growth"] = {{"bytes_per_token", region.growth.bytes_per_token},
                      {"capacity", region.growth.capacity}};
  }
  return json;
}

}  // namespace

std::string model_text(const Model& model) {
  const ModelShape& shape = model.shape;
  const std::string name = shape.name.empty() ? model.path.filename().string() : shape.name;
  const std::optional<std::uint64_t> parameters = parameters_of(model);
  std::string text = fmt::format(
      "model     {} ({}, {})\n", printable(name),
      shape.architecture.empty() ? "unknown architecture" : printable(shape.architecture),
      to_string(model.format));
  text += fmt::format("size      {} parameters, hidden {}, vocabulary {}, made for {}\n",
                      parameters ? count_text(*parameters) : "unknown", stated_text(shape.hidden),
                      stated_text(shape.vocabulary),
                      shape.context == 0 ? "? tokens" : count_of(shape.context, "token"));
  if (!shape.layers.empty()) text += fmt::format("layers    {}\n", layer_kinds(shape));
  return text;
}

std::string warnings_text(const std::vector<std::string>& warnings) {
  std::string text;
  for (const std::string& warning : named_as_options(warnings)) {
    text += "warning: " + printable(warning) + "\n";
  }
  return text;
}

std::string certainty_text(const PlanCertainty& certainty) {
  if (certainty == PlanCertainty{}) return "exact";
  return fmt::format("weights {}, caches {}, compute {}", to_string(certainty.weights),
                     to_string(certainty.caches), to_string(certainty.compute));
}

Json certainty_json(const PlanCertainty& certainty) {
  return {{"weights", to_string(certainty.weights)},
          {"caches", to_string(certainty.caches)},
          {"compute", to_string(certainty.compute)}};
}

std::string foreign_text(const std::vector<ForeignMemory>& foreign) {
  std::string text;
  for (const ForeignMemory& library : foreign) {
    text += fmt::format("foreign   {}, {}\n", to_iec(library.bytes), foreign_note(library));
  }
  return text;
}

std::string plan_text(const Plan& plan, const PlanOptions& options) {
  const Breakdown b = plan.breakdown();
  std::string text = fmt::format("plan      profile {}, {}; {} of {}; K {}, V {}\n\n", plan.profile,
                                 certainty_text(plan.certainty), count_of(plan.talks, "talk"),
                                 count_of(plan.context_per_talk, "token"),
                                 to_string(options.key_type), to_string(options.value_type));
  text += size_line("weights", b.weights, count_of(plan.weights.regions().size(), "region"));
  text += size_line("history", b.history);
  text += size_line("  kv", b.kv);
  text += size_line("  window", b.window);
  text += size_line("  recurrent", b.recurrent);
  text += size_line("scratch", b.scratch);
  text += size_line("  decode", b.decode);
  text += size_line("  prefill", b.prefill,
                    plan.peak_stage.empty() ? "" : "peak at the stage: " + plan.peak_stage);
  text += size_line("overhead", b.overhead);
  for (const ForeignMemory& library : plan.foreign) {
    text += size_line("foreign memory", library.bytes, foreign_note(library));
  }
  text += size_line(
      "total", b.total,
      b.total ? ""
              : to_iec(b.history + b.scratch + b.overhead + b.foreign) + " without the weights");
  return text + warnings_text(plan.warnings);
}

std::string regions_text(const Plan& plan, const std::optional<StreamingPlan>& streaming) {
  std::string text = fmt::format("\n{:<8} {:>14} {:>14}  {:<8} {:<10} shape, name\n", "tape",
                                 "offset", "bytes", "type", "role");
  for (const auto& [tape, regions] : tapes_of(plan, streaming)) {
    for (const Region& region : regions->regions()) {
      text += fmt::format("{:<8} {:>14} {:>14}  {:<8} {:<10} [{}]  {}\n", tape, region.offset,
                          region.bytes, to_string(region.dtype), to_string(region.role),
                          fmt::join(region.shape, ", "), printable(region.name));
    }
  }
  return text;
}

std::string ranks_text(const RankPlan& plan) {
  std::string text = fmt::format("\n{:<6}{:>11}{:>11}{:>11}{:>11}  KV heads\n", "rank", "weights",
                                 "history", "scratch", "total");
  for (std::size_t rank = 0; rank < plan.ranks.size(); ++rank) {
    const RankBytes& bytes = plan.ranks[rank];
    text += fmt::format("{:<6}{:>11}{:>11}{:>11}{:>11}  {}{}\n", rank, size_text(bytes.weights),
                        to_iec(bytes.history), to_iec(bytes.scratch), size_text(bytes.total),
                        bytes.kv_heads, rank == plan.largest ? "  (largest)" : "");
  }
  if (plan.replicates_kv_heads)
    text += "some KV heads are replicated, because the ranks do not divide them\n";
  return text;
}

std::string streaming_text(const Model& model, const Plan& plan, const StreamingPlan& streaming) {
  const StreamingParts parts = streaming_parts(streaming);
  const std::uint64_t layers = streaming.layers.size();
  const std::uint64_t resident = streaming.resident_layers();
  std::string text = "\nlayer streaming\n";
  text += size_line("device", streaming.device.bytes(), "weights, with padding");
  text += size_line("  outer", parts.outer,
                    count_of(streaming.outer.size(), "tensor") + " outside the layers");
  text += size_line("  resident", parts.resident,
                    fmt::format("{} of {}", resident, count_of(layers, "layer")));
  text +=
      size_line("  slots", parts.slots,
                streaming.slots == 0 ? "no layer takes turns"
                                     : fmt::format("{} of {}, shared in turn by {}",
                                                   streaming.slots, to_iec(streaming.slot_bytes()),
                                                   count_of(layers - resident, "layer")));
  text += size_line("staging", streaming.staging.payload(),
                    count_of(streaming.staging.regions().size(), "pinned buffer") +
                        ", for weights that are not pinned");
  text += size_line("token", streaming.token_bytes, "copied for each token");
  text += size_line("one slot", streaming.one_slot_bytes, "weights on the device with one slot");
  if (const std::optional<std::uint64_t> estimate = closed_form(model.shape, plan)) {
    text += size_line("estimate", *estimate,
                      "from the shape alone: one slot with K and V, all in f32 (StreamingConfig)");
  }
  return text;
}

Json model_json(const Model& model) {
  const ModelShape& shape = model.shape;
  // A config lists no tensors, but its model has some.
  const std::uint64_t tensors = model.tensors.entries().size();
  const bool listed = model.format != ModelFormat::config;
  return {{"architecture", shape.architecture},
          {"name", shape.name},
          {"format", to_string(model.format)},
          {"parameters", number_json(parameters_of(model))},
          {"layers", number_json(stated(shape.layers.size()))},
          {"hidden", number_json(stated(shape.hidden))},
          {"vocabulary", number_json(stated(shape.vocabulary))},
          {"context", number_json(stated(shape.context))},
          {"layer_kinds", layer_kinds(shape)},
          {"tensors", listed ? Json(tensors) : Json()}};
}

Json foreign_json(const std::vector<ForeignMemory>& foreign) {
  return json_list(foreign, [](const ForeignMemory& library) -> Json {
    return {{"name", library.name}, {"bytes", library.bytes}, {"addresses", library.addresses}};
  });
}

Json plan_json(const Model& model, const Plan& plan) {
  const Breakdown b = plan.breakdown();
  const auto extent = b.weights ? std::optional(plan.weights.bytes()) : std::nullopt;
  return {{"schema", kPlanSchema},
          {"model", model_json(model)},
          {"profile", plan.profile},
          {"exact", plan.exact()},
          {"certainty", certainty_json(plan.certainty)},
          {"warnings", named_as_options(plan.warnings)},
          {"talks", plan.talks},
          {"context", plan.context_per_talk},
          {"weights", {{"bytes", number_json(b.weights)}, {"extent", number_json(extent)}}},
          {"history",
           {{"bytes", b.history},
            {"kv", b.kv},
            {"window", b.window},
            {"recurrent", b.recurrent},
            {"extent", plan.history.bytes() * plan.talks}}},
          {"scratch",
           {{"bytes", b.scratch},
            {"decode", b.decode},
            {"prefill", b.prefill},
            {"prefill_lower_bound", plan.prefill_lower_bound},
            {"peak_stage", plan.peak_stage}}},
          {"overhead", {{"bytes", b.overhead}}},
          {"foreign_memory", foreign_json(plan.foreign)},
          {"total", {{"bytes", number_json(b.total)}}}};
}

Json regions_json(const Plan& plan, const std::optional<StreamingPlan>& streaming) {
  Json tapes;
  for (const auto& [tape, regions] : tapes_of(plan, streaming)) {
    tapes[tape] = json_list(regions->regions(), region_json);
  }
  return tapes;
}

Json ranks_json(const RankPlan& plan) {
  const auto rank_json = [](const RankBytes& bytes) -> Json {
    return {{"weights", number_json(bytes.weights)},
            {"history", bytes.history},
            {"scratch", bytes.scratch},
            {"overhead", bytes.overhead},
            {"total", number_json(bytes.total)},
            {"kv_heads", bytes.kv_heads}};
  };
  return {{"largest", plan.largest},
          {"replicates_kv_heads", plan.replicates_kv_heads},
          {"ranks", json_list(plan.ranks, rank_json)}};
}

Json streaming_json(const Model& model, const Plan& plan, const StreamingPlan& streaming) {
  const StreamingParts parts = streaming_parts(streaming);
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
          {"closed_form", number_json(closed_form(model.shape, plan))}};
}

}  // namespace tapedeck::cli
