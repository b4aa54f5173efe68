/// @file
/// The subcommands. Each adds itself to the program and gives what runs it after the arguments were
/// read: with an exit code, or an exception.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::cli {

struct Command {
  CLI::App* arguments;
  std::function<int()> run;
};

[[nodiscard]] Command add_decode(CLI::App& program);
[[nodiscard]] Command add_fit(CLI::App& program);
[[nodiscard]] Command add_gpus(CLI::App& program);
[[nodiscard]] Command add_make_model(CLI::App& program);
[[nodiscard]] Command add_plan(CLI::App& program);
[[nodiscard]] Command add_report(CLI::App& program);
[[nodiscard]] Command add_resident(CLI::App& program);
[[nodiscard]] Command add_show(CLI::App& program);
[[nodiscard]] Command add_top(CLI::App& program);
[[nodiscard]] Command add_warm(CLI::App& program);

}  // namespace tapedeck::cli
