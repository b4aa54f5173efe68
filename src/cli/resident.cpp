// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.hpp"
#include "cli/commands.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/weights/weights.hpp"

namespace tapedeck::cli {
namespace {

struct ResidentArguments {
  std::string model;
  bool json = false;
};

// The tensors of a layer, or those before or after all layers.
struct Part {
  std::string name;
  std::optional<std::uint32_t> layer;
  std::vector<std::uint32_t> tensors;
};

// Returns the parts in the order in which they are warmed.
std::vector<Part> layer_parts(const TensorDirectory& tensors) {
  std::vector<Part> parts;
  for (const std::uint32_t tensor : layer_order(tensors)) {
    const TensorEntry& entry = tensors.entries()[tensor];
    if (entry.bytes == 0) continue;
    const std::optional<std::uint32_t> layer = entry.id.text_layer();
    if (parts.empty() || parts.back().layer != layer) {
      const char* const beside = parts.empty() ? "before the layers" : "after the layers";
      parts.push_back({.name = layer ? fmt::format("layer {}", *layer) : beside,
                       .layer = layer,
                       .tensors = {}});
    }
    parts.back().tensors.push_back(tensor);
  }
  if (parts.size() == 1 && !parts.front().layer) parts.front().name = "all tensors";
  return parts;
}

std::string residency_line(const WeightsResidency& residency) {
  return fmt::format("{}  {:>10} of {:>10}\n", bar_text(residency.cached, residency.bytes),
                     size_text(residency.cached), to_iec(residency.bytes));
}

std::string resident_as_text(const Weights& weights) {
  std::string text = "in the page cache, which all processes share\n\n";
  for (std::size_t file = 0; file < weights.files().size(); ++file) {
    text += printable(weights.files()[file].path.string()) + "\n  " +
            residency_line(weights.residency_of_file(file));
  }
  if (weights.files().size() > 1) text += "all files\n  " + residency_line(weights.residency());
  const std::vector<Part> parts = layer_parts(weights.tensors());
  std::size_t width = 0;
  for (const Part& part : parts) width = std::max(width, part.name.size());
  text += '\n';
  for (const Part& part : parts) {
    text += fmt::format("{:<{}}  {}", part.name, width,
                        residency_line(weights.residency_of(part.tensors)));
  }
  return text;
}

nlohmann::ordered_json resident_as_json(const ResidentArguments& arguments,
                                        const Weights& weights) {
  nlohmann::ordered_json files = nlohmann::ordered_json::array();
  for (std::size_t file = 0; file < weights.files().size(); ++file) {
    const WeightsResidency residency = weights.residency_of_file(file);
    files.push_back({{"path", printable(weights.files()[file].path.string())},
                     {"bytes", residency.bytes},
                     {"cached", internal::number_json(residency.cached)}});
  }
  nlohmann::ordered_json parts = nlohmann::ordered_json::array();
  for (const Part& part : layer_parts(weights.tensors())) {
    const WeightsResidency residency = weights.residency_of(part.tensors);
    parts.push_back({{"name", part.name},
                     {"layer", internal::number_json(part.layer)},
                     {"tensors", part.tensors.size()},
                     {"bytes", residency.bytes},
                     {"cached", internal::number_json(residency.cached)}});
  }
  const WeightsResidency all = weights.residency();
  return {{"schema", kResidentSchema},
          {"model", printable(arguments.model)},
          {"bytes", all.bytes},
          {"cached", internal::number_json(all.cached)},
          {"files", files},
          {"parts", parts}};
}

int resident(const ResidentArguments& arguments) {
  // The files are mapped but not touched, so that the query does not change the answer.
  const Weights weights = Weights::open(arguments.model, {.way = Way::map});
  Output().write(arguments.json ? json_text(resident_as_json(arguments, weights))
                                : resident_as_text(weights));
  return 0;
}

}  // namespace

void add_resident(CLI::App& program, int& exit_code) {
  CLI::App* command = program.add_subcommand(
      "resident", "Shows how much of a model is in the page cache, by file and by layer.");
  command->footer(
      "The kernel answers only for files that you own or may write; for others the answer is\n"
      "unknown. The headers are read first, which brings the beginning of each file into the\n"
      "cache.");
  auto arguments = std::make_shared<ResidentArguments>();
  add_model(*command, arguments->model);
  add_json(*command, arguments->json);
  command->callback([arguments, &exit_code] { exit_code = resident(*arguments); });
}

}  // namespace tapedeck::cli
