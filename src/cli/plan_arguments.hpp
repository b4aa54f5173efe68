/// @file
/// The arguments that say what a model is to be run with, read the same way by every command that
/// plans.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::cli {

struct PlanArguments {
  std::string model;
  PlanOptions options;
  bool json = false;
};

/// Adds MODEL and the options. The arguments outlive the command.
void add_plan_arguments(CLI::App& command, PlanArguments& arguments);

}  // namespace tapedeck::cli
