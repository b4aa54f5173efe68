/// @file
/// What the values of options may be: each refusal says what was given, and what may be.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::cli {

/// Of `--threads`.
inline constexpr unsigned kMostThreads = 1024;

/// Refuses what CLI11 would turn into another number: a sign, or too many digits.
[[nodiscard]] CLI::Validator whole_number();

/// Refuses what is no rate: zero, less, and what is no finite number.
[[nodiscard]] CLI::Validator positive_number();

/// Makes an option take bytes: "24GiB", "1.5G", "512m", "1000", "25 GB". Units in any case. K, M, G
/// and T are binary, as KiB to TiB are; KB to TB are decimal, as dd and the data sheets of buses
/// have them.
void as_size(CLI::Option* option);

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

}  // namespace tapedeck::cli
