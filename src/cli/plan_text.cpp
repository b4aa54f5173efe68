#include "cli/plan_text.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.hpp"
#include "cli/figures.hpp"
#include "cli/output.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string kind_of(const LayerShape& layer) {
  std::string kind;
  const auto append_part = [&kind](const std::string& part) {
    kind += (kind.empty() ? "" : " + ") + part;
  };
  switch (layer.attention) {
    case Attention::none:
      break;
    case Attention::full:
      append_part("full");
      break;
    case Attention::windowed:
      append_part(fmt::format("window {}", layer.window));
      break;
    case Attention::chunked:
      append_part(fmt::format("chunk {}", layer.window));
      break;
    case Attention::latent:
      append_part(fmt::format("latent {}", layer.key_dim));
      break;
  }
  if (layer.recurrence != Recurrence::none) append_part(to_string(layer.recurrence));
  if (kind.empty()) return "without attention";
  if (layer.indexer_dim != 0) append_part(fmt::format("indexer {}", layer.indexer_dim));
  if (layer.shares_cache) kind += ", shared KV";
  return kind;
}

// 8.03 B, 494 M, 260 K.
std::string count_text(std::uint64_t count) {
  constexpr std::array<std::pair<double, const char*>, 4> units = {
      {{1e12, " T"}, {1e9, " B"}, {1e6, " M"}, {1e3, " K"}}};
  for (const auto& [unit, name] : units) {
    const double scaled = static_cast<double>(count) / unit;
    if (scaled >= 1) return fmt::format("{:.{}f}{}", scaled, scaled < 100 ? 2 : 0, name);
  }
  return std::to_string(count);
}

}  // namespace

std::string layer_kinds(const ModelShape& shape) {
  std::vector<std::pair<std::string, std::size_t>> kinds;
  for (const LayerShape& layer : shape.layers) {
    const std::string kind = kind_of(layer);
    const auto at = std::find_if(kinds.begin(), kinds.end(),
                                 [&](const auto& one) { return one.first == kind; });
    if (at == kinds.end()) {
      kinds.emplace_back(kind, 1);
    } else {
      ++at->second;
    }
  }
  std::string text;
  for (const auto& [kind, count] : kinds) {
    text += fmt::format("{}{} layer{} {}", text.empty() ? "" : ", ", count, count == 1 ? "" : "s",
                        kind);
  }
  return text;
}

std::uint64_t parameters_of(const Model& model) {
  if (!model.tensors.empty()) return model.tensors.elements();
  return model.shape.parameter_count().value_or(0);
}

std::string size_line(std::string_view name, std::uint64_t bytes, const std::string& note) {
  return fmt::format("{:<14}{:>11}{}{}\n", name, to_iec(bytes), note.empty() ? "" : "   ", note);
}

std::string model_text(const Model& model) {
  const ModelShape& shape = model.shape;
  const std::string name = shape.name.empty() ? model.path.filename().string() : shape.name;
  const std::uint64_t parameters = parameters_of(model);
  std::string text = fmt::format(
      "model     {} ({}, {})\n", printable(name),
      shape.architecture.empty() ? "no architecture stated" : printable(shape.architecture),
      to_string(model.format));
  text += fmt::format("size      {} parameters, hidden {}, vocabulary {}, made for {} tokens\n",
                      parameters == 0 ? "unknown" : count_text(parameters), shape.hidden,
                      shape.vocabulary, shape.context == 0 ? "?" : std::to_string(shape.context));
  if (!shape.layers.empty()) text += fmt::format("layers    {}\n", layer_kinds(shape));
  return text;
}

std::string plan_text(const Plan& plan, const PlanOptions& options) {
  const Breakdown b = plan.breakdown();
  std::string text = fmt::format("plan      profile {}, {}; {} talk{} of {} tokens; K {}, V {}\n\n",
                                 plan.profile, plan.exact ? "exact" : "not exact", plan.talks,
                                 plan.talks == 1 ? "" : "s", plan.context_per_talk,
                                 to_string(options.key_type), to_string(options.value_type));
  text += size_line("weights", b.weights, fmt::format("{} regions", plan.weights.regions().size()));
  text += size_line("history", b.history);
  text += size_line("  kv", b.kv);
  text += size_line("  window", b.window);
  text += size_line("  recurrent", b.recurrent);
  text += size_line("scratch", b.scratch);
  text += size_line("  decode", b.decode);
  text += size_line("  prefill", b.prefill,
                    plan.peak_stage.empty() ? "" : "peak at the stage: " + plan.peak_stage);
  text += size_line("overhead", b.overhead);
  text += size_line("total", b.total);
  for (const std::string& warning : plan.warnings) text += "warning: " + printable(warning) + "\n";
  return text;
}

std::string tape_regions_text(std::string_view tape, const TapePlan& plan) {
  std::string text;
  for (const Region& region : plan.regions()) {
    text += fmt::format("{:<8} {:>14} {:>14}  {:<8} {:<10} [{}]  {}\n", tape, region.offset,
                        region.bytes, to_string(region.dtype), to_string(region.role),
                        fmt::join(region.shape, ", "), printable(region.name));
  }
  return text;
}

std::string regions_text(const Plan& plan) {
  return fmt::format("\n{:<8} {:>14} {:>14}  {:<8} {:<10} shape, name\n", "tape", "offset", "bytes",
                     "type", "role") +
         tape_regions_text("weights", plan.weights) + tape_regions_text("scratch", plan.scratch) +
         tape_regions_text("history", plan.history);
}

std::string ranks_text(const RankPlan& plan) {
  std::string text = fmt::format("\n{:<6}{:>11}{:>11}{:>11}{:>11}  KV heads\n", "rank", "weights",
                                 "history", "scratch", "total");
  for (std::size_t rank = 0; rank < plan.ranks.size(); ++rank) {
    const RankBytes& bytes = plan.ranks[rank];
    text += fmt::format("{:<6}{:>11}{:>11}{:>11}{:>11}  {}{}\n", rank, to_iec(bytes.weights),
                        to_iec(bytes.history), to_iec(bytes.scratch), to_iec(bytes.total),
                        bytes.kv_heads, rank == plan.largest ? "  (largest)" : "");
  }
  if (plan.replicates_kv_heads)
    text += "the ranks do not divide the KV heads: some are held twice\n";
  return text;
}

Json model_json(const Model& model) {
  const ModelShape& shape = model.shape;
  return {{"architecture", shape.architecture}, {"name", shape.name},
          {"format", to_string(model.format)},  {"parameters", parameters_of(model)},
          {"layers", shape.layers.size()},      {"hidden", shape.hidden},
          {"vocabulary", shape.vocabulary},     {"context", shape.context},
          {"layer_kinds", layer_kinds(shape)},  {"tensors", model.tensors.entries().size()}};
}

Json plan_json(const Model& model, const Plan& plan) {
  const Breakdown b = plan.breakdown();
  return {{"schema", kPlanSchema},
          {"model", model_json(model)},
          {"profile", plan.profile},
          {"exact", plan.exact},
          {"warnings", plan.warnings},
          {"talks", plan.talks},
          {"context", plan.context_per_talk},
          {"weights", {{"bytes", b.weights}, {"extent", plan.weights.bytes()}}},
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
          {"total", {{"bytes", b.total}}}};
}

Json tape_regions_json(const TapePlan& plan) {
  Json regions = Json::array();
  for (const Region& region : plan.regions()) {
    Json one = {{"name", region.name},           {"role", to_string(region.role)},
                {"offset", region.offset},       {"bytes", region.bytes},
                {"alignment", region.alignment}, {"type", to_string(region.dtype)},
                {"shape", region.shape}};
    if (region.live != Live{}) one["live"] = {region.live.begin, region.live.end};
    if (region.growth.bytes_per_token != 0) {
      one["growth"] = {{"bytes_per_token", region.growth.bytes_per_token},
                       {"capacity", region.growth.capacity}};
    }
    regions.push_back(std::move(one));
  }
  return regions;
}

Json regions_json(const Plan& plan) {
  return {{"weights", tape_regions_json(plan.weights)},
          {"scratch", tape_regions_json(plan.scratch)},
          {"history", tape_regions_json(plan.history)}};
}

Json ranks_json(const RankPlan& plan) {
  Json ranks = Json::array();
  for (const RankBytes& bytes : plan.ranks) {
    ranks.push_back({{"weights", bytes.weights},
                     {"history", bytes.history},
                     {"scratch", bytes.scratch},
                     {"overhead", bytes.overhead},
                     {"total", bytes.total},
                     {"kv_heads", bytes.kv_heads}});
  }
  return {{"largest", plan.largest},
          {"replicates_kv_heads", plan.replicates_kv_heads},
          {"ranks", std::move(ranks)}};
}

}  // namespace tapedeck::cli
