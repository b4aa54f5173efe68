// SPDX-License-Identifier: Apache-2.0
/// @file
/// Options that several commands share, and validators of option values. Each refusal states what
/// was given and what is allowed.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/option_table.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/weights_owner.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::cli {

/// The maximum of `--threads`.
inline constexpr unsigned kMostThreads = 1024;

// The text of each validator continues the sentence that the option's name begins:
// "--threads" + " must be from 1 to 1024, not 0".

/// Refuses texts that CLI11 would silently turn into another number: signs and too many digits.
[[nodiscard]] CLI::Validator whole_number();

/// Accepts numbers from `least` to `most`.
[[nodiscard]] CLI::Validator in_range(std::uint64_t least, std::uint64_t most);

/// Accepts finite numbers greater than zero.
[[nodiscard]] CLI::Validator positive_number();

/// Accepts numbers of seconds from 0 to 1e9.
[[nodiscard]] CLI::Validator seconds_from_now();

/// Accepts one of several names, which completion offers.
[[nodiscard]] CLI::Validator one_of(const std::vector<std::string>& names);

/// Accepts any spelling of a number type; completion offers their names.
[[nodiscard]] CLI::Validator number_type();

/// Accepts any spelling of a type of K and V caches, or of two of them with a comma in between.
[[nodiscard]] CLI::Validator cache_types();

/// Refuses an empty text, such as that of a shell variable that is not set.
[[nodiscard]] CLI::Validator not_empty();

/// Makes an option or operand take a path, which is not empty. Completion offers file names, or
/// folders for the placeholder `kFolder`.
CLI::Option* as_path(CLI::Option* option, const char* placeholder = kFile);

/// Makes an option take a size in bytes: "24GiB", "1.5G", "512m", "1000", "25 GB". Units may be in
/// any case. K, M, G and T are binary, like KiB to TiB; KB to TB are decimal, as in dd and in the
/// data sheets of buses.
CLI::Option* as_size(CLI::Option* option);

/// Makes an option take one of several names, each of which stands for a value.
template <class Value>
CLI::Option* as_choice(CLI::Option* option, const CLI::TransformPairs<Value>& choices) {
  std::vector<std::string> names;
  names.reserve(choices.size());
  for (const auto& choice : choices) names.push_back(choice.first);
  // The names are checked first. The error of CLI11's Transformer would print the values as well,
  // and those of a small enumeration are control characters.
  return option->transform(CLI::Transformer(choices))
      ->transform(one_of(names))
      ->option_text(CLI::detail::join(names, "|"));
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

/// Like `add_size`, but refuses 0.
template <class Bytes>
CLI::Option* add_some_size(CLI::App& command, const char* name, Bytes& value,
                           const std::string& what) {
  return add_size(command, name, value, what)->check(positive_number());
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

/// Adds `--force`, which lets `require_new` accept an existing file.
CLI::Option* add_force(CLI::App& command, bool& force);

/// Replaces the library's names of what an option sets with those of the command line:
/// "PlanOptions::total_context" with "--context".
[[nodiscard]] std::string with_option_names(std::string message);
[[nodiscard]] std::vector<std::string> named_as_options(std::vector<std::string> messages);

/// The model and options of a plan, which every command that plans reads in the same way.
struct PlanArguments {
  std::string model;
  PlanOptions options;
  const CLI::Option* micro_batch = nullptr;  ///< Whether the user gave it.
  bool json = false;
  bool check = false;
};

/// Writes to standard error which parts `--check` refuses, if any. Returns the exit code.
[[nodiscard]] int check_exit_code(const PlanArguments& arguments, const PlanCertainty& certainty);

/// Adds MODEL and the plan's options. The arguments must outlive the command.
void add_plan_arguments(CLI::App& command, PlanArguments& arguments);

/// Checks that a micro-batch that the user gave is not limited by the batch.
/// @throws InvalidArgument
void require_batches(const PlanArguments& arguments);

}  // namespace tapedeck::cli
