// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/plan/plan.hpp"
#include "base/amounts.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/json.hpp"
#include "cli/commands.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/plan_text.hpp"
#include "plan/sizes.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/model/read_model.hpp"
#include "tapedeck/plan/streaming_plan.hpp"
#include "tapedeck/plan/tensor_parallel.hpp"

namespace tapedeck::cli {
namespace {

struct PlanOnlyArguments : PlanArguments {
  bool regions = false;
  std::uint64_t ranks = 1;
  bool streaming = false;
  std::uint64_t slots = 2;
  std::optional<std::uint64_t> gpu_memory;
};

[[noreturn]] void throw_too_little_memory(std::uint64_t weights, const Breakdown& b,
                                          std::uint64_t needed, std::uint64_t memory) {
  throw InvalidArgument(
      {.argument = "--gpu-memory", .value = memory, .limit = needed},
      fmt::format("layer streaming needs at least {} (weights {}, history {}, scratch and "
                  "overhead {}), but --gpu-memory is {}",
                  internal::count_of(needed, "byte"), to_iec(weights), to_iec(b.history),
                  to_iec(b.scratch + b.overhead), memory),
      "raise it, or reduce the context or the slots");
}

// The weights may use the memory that the rest of the plan leaves.
std::optional<StreamingPlan> streaming_of(const PlanOnlyArguments& a, const Model& model,
                                          const Plan& plan) {
  if (!a.streaming) return std::nullopt;
  StreamingOptions options = {.slots = a.slots};
  StreamingPlan none_stays = plan_streaming(model, options);
  if (!a.gpu_memory) return none_stays;
  const Breakdown b = plan.breakdown();
  const std::uint64_t beside = b.history + b.scratch + b.overhead;
  const std::uint64_t weights = none_stays.least_bytes;
  const std::uint64_t needed = internal::fits(internal::CheckedSize(beside) + weights);
  if (needed > *a.gpu_memory) throw_too_little_memory(weights, b, needed, *a.gpu_memory);
  options.device_bytes = *a.gpu_memory - beside;
  return plan_streaming(model, options);
}

std::string plan_as_json(const PlanOnlyArguments& a, const Model& model, const Plan& plan,
                         const std::optional<StreamingPlan>& streaming) {
  nlohmann::ordered_json json = plan_json(model, plan);
  if (a.ranks != 1) json["tensor_parallel"] = ranks_json(plan_ranks(model, a.options, a.ranks));
  if (streaming) json["streaming"] = streaming_json(model, plan, *streaming);
  if (a.regions) json["regions"] = regions_json(plan, streaming);
  return json_text(json);
}

std::string plan_as_text(const PlanOnlyArguments& a, const Model& model, const Plan& plan,
                         const std::optional<StreamingPlan>& streaming) {
  std::string text = model_text(model) + plan_text(plan, a.options);
  if (a.ranks != 1) text += ranks_text(plan_ranks(model, a.options, a.ranks));
  if (streaming) text += streaming_text(model, plan, *streaming);
  if (a.regions) text += regions_text(plan, streaming);
  return text;
}

int plan(const PlanOnlyArguments& arguments) {
  require_batches(arguments);
  const Model model = read_model(arguments.model);
  const Plan plan = make_plan(model, arguments.options);
  const std::optional<StreamingPlan> streaming = streaming_of(arguments, model, plan);
  Output().write(arguments.json ? plan_as_json(arguments, model, plan, streaming)
                                : plan_as_text(arguments, model, plan, streaming));
  return check_exit_code(arguments, plan.certainty);
}

}  // namespace

void add_plan(CLI::App& program, int& exit_code) {
  CLI::App* command = program.add_subcommand(
      "plan", "Computes the memory that a model needs from its files, without allocating it.");
  auto arguments = std::make_shared<PlanOnlyArguments>();
  add_plan_arguments(*command, *arguments);
  command->add_flag("--regions", arguments->regions, "List every region with its offset");
  add_whole_number(*command, "--tp", arguments->ranks,
                   "Tensor-parallel ranks that share every layer")
      ->capture_default_str();
  command
      ->add_flag("--streaming", arguments->streaming,
                 "Plan the weights on a device whose layers take turns in slots")
      ->excludes("--tp")
      ->excludes("--weights-type");
  add_whole_number(*command, "--slots", arguments->slots,
                   "Number of slots in which layers take turns")
      ->capture_default_str()
      ->needs("--streaming");
  add_some_size(*command, "--gpu-memory", arguments->gpu_memory,
                "Memory of the device, in which as many layers stay as fit [no layer stays]")
      ->needs("--streaming");
  command->callback([arguments, &exit_code] { exit_code = plan(*arguments); });
}

}  // namespace tapedeck::cli
