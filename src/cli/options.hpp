/// @file
/// Options that several commands have, and what the values of options may be: each refusal says
/// what was given, and what may be.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/weights_owner.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::cli {

/// Of `--threads`.
inline constexpr unsigned kMostThreads = 1024;

/// Refuses what CLI11 would turn into another number: a sign, or too many digits.
[[nodiscard]] CLI::Validator whole_number();

/// Refuses what is no rate: zero, less, and what is no finite number.
[[nodiscard]] CLI::Validator positive_number();

/// Refuses what is no time to wait: less than nothing, more than 1e9, and what is no number.
[[nodiscard]] CLI::Validator seconds_from_now();

/// Makes an option take bytes: "24GiB", "1.5G", "512m", "1000", "25 GB". Units in any case. K, M, G
/// and T are binary, as KiB to TiB are; KB to TB are decimal, as dd and the data sheets of buses
/// have them.
CLI::Option* as_size(CLI::Option* option);

/// Makes an option take one of some names, each of which stands for a value.
template <class Value>
void as_choice(CLI::Option* option, const CLI::TransformPairs<Value>& choices) {
  std::string names;
  for (const auto& choice : choices) names += (names.empty() ? "" : "|") + choice.first;
  // The names are checked first: what CLI11 says of a value that it cannot transform has the values
  // in it, and those of a small enumeration are control characters.
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

/// Adds MODEL to a command that needs the model's tensors.
void add_model(CLI::App& command, std::string& path);

CLI::Option* add_threads(CLI::App& command, unsigned& threads, const std::string& what);

/// Adds `--way`, which sets a `Way` or an optional one.
template <class Chosen>
void add_way(CLI::App& command, Chosen& way, const std::string& what) {
  as_choice<Way>(command.add_option("--way", way, what), {{"automatic", Way::automatic},
                                                          {"map", Way::map},
                                                          {"read", Way::read},
                                                          {"direct", Way::direct}});
}

void add_json(CLI::App& command, bool& json);

/// What a model is to be run with, read the same way by every command that plans.
struct PlanArguments {
  std::string model;
  PlanOptions options;
  bool json = false;
};

/// Adds MODEL and the options. The arguments outlive the command.
void add_plan_arguments(CLI::App& command, PlanArguments& arguments);

}  // namespace tapedeck::cli
