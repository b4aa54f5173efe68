// SPDX-License-Identifier: Apache-2.0
/// @file
/// Options that several commands share, and validators of option values. Each refusal states what
/// was given and what is allowed.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/weights_owner.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::cli {

/// The maximum of `--threads`.
inline constexpr unsigned kMostThreads = 1024;

/// Refuses texts that CLI11 would silently turn into another number: signs and too many digits.
[[nodiscard]] CLI::Validator whole_number();

/// Accepts finite numbers greater than zero.
[[nodiscard]] CLI::Validator positive_number();

/// Accepts numbers of seconds from 0 to 1e9.
[[nodiscard]] CLI::Validator seconds_from_now();

/// Makes an option take a size in bytes: "24GiB", "1.5G", "512m", "1000", "25 GB". Units may be in
/// any case. K, M, G and T are binary, like KiB to TiB; KB to TB are decimal, as in dd and in the
/// data sheets of buses.
CLI::Option* as_size(CLI::Option* option);

/// Makes an option take one of several names, each of which stands for a value.
template <class Value>
void as_choice(CLI::Option* option, const CLI::TransformPairs<Value>& choices) {
  std::string names;
  for (const auto& choice : choices) names += (names.empty() ? "" : "|") + choice.first;
  // The names are checked first. The error of CLI11's Transformer would print the values as well,
  // and those of a small enumeration are control characters.
  option->transform(CLI::Transformer(choices))
      ->transform(CLI::IsMember(choices))
      ->option_text(names);
}

template <class Number>
CLI::Option* add_whole_number(CLI::App& command, const char* name, Number& value,
                              const std::string& what) {
  return command.add_option(name, value, what)->check(whole_number());
}

template <class Bytes>
CLI::Option* add_size(CLI::App& command, const char* name, Bytes& value, const std::string& what) {
  return as_size(command.add_option(name, value, what));
}

/// Adds the argument MODEL to a command that needs the model's tensors.
void add_model(CLI::App& command, std::string& path);

CLI::Option* add_threads(CLI::App& command, unsigned& threads, const std::string& what);

/// Adds `--way`, which sets a `Way` or an optional `Way`.
template <class Chosen>
void add_way(CLI::App& command, Chosen& way, const std::string& what) {
  as_choice<Way>(command.add_option("--way", way, what), {{"automatic", Way::automatic},
                                                          {"map", Way::map},
                                                          {"read", Way::read},
                                                          {"direct", Way::direct}});
}

void add_json(CLI::App& command, bool& json);

/// Replaces the library's names of plan options with those of the command line:
/// "PlanOptions::total_context" with "--context".
[[nodiscard]] std::string with_option_names(std::string message);

/// The model and options of a plan, which every command that plans reads in the same way.
struct PlanArguments {
  std::string model;
  PlanOptions options;
  bool json = false;
  bool check = false;
};

/// Returned with `--check` if some part may need more than was planned.
inline constexpr int kNotBounded = 4;

/// Writes to standard error which parts `--check` refuses, if any. Returns the exit code.
[[nodiscard]] int check_exit_code(const PlanArguments& arguments, const PlanCertainty& certainty);

/// Adds MODEL and the plan's options. The arguments must outlive the command.
void add_plan_arguments(CLI::App& command, PlanArguments& arguments);

}  // namespace tapedeck::cli
