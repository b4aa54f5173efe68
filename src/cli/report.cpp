// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/amounts.hpp"
#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "cli/interrupt.hpp"
#include "cli/option_table.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "os/new_file.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/telemetry/report/advice.hpp"
#include "tapedeck/telemetry/report/report.hpp"

namespace tapedeck::cli {
namespace {

struct ReportArguments {
  std::string recording;
  std::string out;
  bool force = false;
};

// Returns false, and leaves no file behind, if it is interrupted.
bool write_page(const std::filesystem::path& path, std::string_view page) {
  const std::atomic<bool>& stop = stop_on_interrupt();
  internal::NewFile file(path);
  file.write(std::as_bytes(std::span(page)));
  if (stop) return false;
  file.put_in_place();
  tell(fmt::format("{}: {}\n", printable(path.string()), to_iec(page.size())));
  return true;
}

int report(const ReportArguments& arguments) {
  keep_apart(arguments.out, arguments.recording);
  require_new(arguments.out, arguments.force);
  const Recording recording = read_recording(arguments.recording);
  const std::string page = report_html(recording);
  if (arguments.out.empty()) {
    Output().write(page);
  } else if (!write_page(arguments.out, page)) {
    return kInterrupted;
  }
  if (recording.missing_lines != 0) {
    tell(fmt::format("{} is cut off and lacks {} of samples and marks at its end\n",
                     printable(arguments.recording),
                     internal::count_of(recording.missing_lines, "line")));
  }
  const Advice advice = advise(recording);
  if (!advice.text.empty()) tell(advice.text + "\n");
  for (const TapeAdvice& tape : advice.tapes) tell(tape.text + "\n");
  return 0;
}

}  // namespace

void add_report(CLI::App& program, int& exit_code) {
  CLI::App* command = program.add_subcommand(
      "report", "Turns a recording of `decode --record` into an HTML page, and prints advice.");
  auto arguments = std::make_shared<ReportArguments>();
  as_path(command->add_option("RECORDING", arguments->recording, "A recording in JSON lines"))
      ->required();
  CLI::Option* out = as_path(command->add_option(
      "-o,--output", arguments->out, "Write the HTML page to this file [standard output]"));
  add_force(*command, arguments->force)->needs(out);
  command->callback([arguments, &exit_code] { exit_code = report(*arguments); });
}

}  // namespace tapedeck::cli
