// SPDX-License-Identifier: Apache-2.0
/// @file
/// What `--help` lists, to compare with other descriptions of the same commands.
#pragma once

#include <sstream>
#include <string>

#include "cli/program.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {

/// The lines of a section of `--help`, without their indentation. Lines that only continue a
/// description are left out.
[[nodiscard]] inline Words section_of_help(const std::string& help, const std::string& title) {
  Words entries;
  bool inside = false;
  for (const std::string& line : split_lines(help)) {
    if (line == title + ":") {
      inside = true;
    } else if (line.empty()) {
      inside = false;
    } else if (inside && line.size() > 2 && line[2] != ' ') {
      entries.push_back(line.substr(2));
    }
  }
  return entries;
}

/// All commands, in the order of `--help`.
[[nodiscard]] inline Words commands_in_help() {
  Words commands;
  for (const std::string& line : section_of_help(run({"--help"}).out, "Subcommands")) {
    commands.push_back(line.substr(0, line.find(' ')));
  }
  return commands;
}

/// The names of all options of a command, "-p" and "--prompt" apart; of the program for "".
[[nodiscard]] inline Words options_in_help(const std::string& command) {
  const Words help = command.empty() ? Words{"--help"} : Words{command, "--help"};
  Words options;
  for (const std::string& line : section_of_help(run(help).out, "Options")) {
    std::istringstream names(line.substr(0, line.find_first_of(" {")));
    for (std::string name; std::getline(names, name, ',');) options.push_back(name);
  }
  return options;
}

}  // namespace tapedeck::tests
