#include "tapedeck/plan/plan.hpp"

#include <memory>
#include <string>

#include "cli/commands.hpp"
#include "cli/output.hpp"
#include "cli/plan_arguments.hpp"
#include "cli/plan_text.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/tensor_parallel.hpp"

namespace tapedeck::inline TAPEDECK_ABI::cli {
namespace {

struct Arguments : PlanArguments {
  bool regions = false;
  std::uint64_t ranks = 1;
};

std::string as_json(const Arguments& a, const Model& model, const Plan& plan) {
  nlohmann::ordered_json json = plan_json(model, plan);
  if (a.ranks != 1) json["tensor_parallel"] = ranks_json(plan_ranks(model, a.options, a.ranks));
  if (a.regions) json["regions"] = regions_json(plan);
  // File names and tensor names need not be text.
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string as_text(const Arguments& a, const Model& model, const Plan& plan) {
  std::string text = model_text(model) + plan_text(plan, a.options);
  if (a.ranks != 1) text += ranks_text(plan_ranks(model, a.options, a.ranks));
  if (a.regions) text += regions_text(plan);
  return text;
}

int plan(const Arguments& arguments) {
  const Model model = read_model(arguments.model);
  const Plan plan = make_plan(model, arguments.options);
  Output().write(arguments.json ? as_json(arguments, model, plan)
                                : as_text(arguments, model, plan));
  return 0;
}

}  // namespace

Command add_plan(CLI::App& program) {
  CLI::App* command = program.add_subcommand(
      "plan", "Says what memory a model needs, from its own files, before anything is allocated.");
  auto arguments = std::make_shared<Arguments>();
  add_plan_arguments(*command, *arguments);
  command->add_flag("--regions", arguments->regions, "Every region, with its place");
  command->add_option("--tp", arguments->ranks, "Ranks that compute every layer together")
      ->check(whole_number())
      ->capture_default_str();
  return {command, [arguments] { return plan(*arguments); }};
}

}  // namespace tapedeck::inline TAPEDECK_ABI::cli
