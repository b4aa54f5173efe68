#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <system_error>

#include "cli/commands.hpp"
#include "cli/output.hpp"
#include "engine/new_file.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/telemetry/advice.hpp"
#include "tapedeck/telemetry/report.hpp"

namespace tapedeck::inline TAPEDECK_ABI::cli {
namespace {

struct ReportArguments {
  std::string recording;
  std::string out;
};

// Before the page takes the recording's place.
void check(const ReportArguments& arguments) {
  std::error_code not_there;
  if (std::filesystem::equivalent(arguments.recording, arguments.out, not_there)) {
    throw InvalidArgument("the report would replace its recording " + arguments.recording,
                          "give -o another file");
  }
}

void write(const std::string& path, const std::string& page) {
  engine::NewFile file(path);
  file.write(std::as_bytes(std::span(page)));
  file.put_in_place();
  tell(fmt::format("{}: {}\n", printable(path), to_iec(page.size())));
}

int report(const ReportArguments& arguments) {
  check(arguments);
  const Recording recording = read_recording(arguments.recording);
  const std::string page = report_html(recording);
  if (arguments.out.empty()) {
    Output().write(page);
  } else {
    write(arguments.out, page);
  }
  for (const TapeAdvice& tape : advise(recording).tapes) tell(tape.text + "\n");
  return 0;
}

}  // namespace

Command add_report(CLI::App& program) {
  CLI::App* command = program.add_subcommand(
      "report", "Makes a page to look at of what `decode --record` has written.");
  auto arguments = std::make_shared<ReportArguments>();
  command->add_option("RECORDING", arguments->recording, "A recording, JSON lines")->required();
  command->add_option("-o,--output", arguments->out, "The page, HTML [standard output]");
  return {command, [arguments] { return report(*arguments); }};
}

}  // namespace tapedeck::inline TAPEDECK_ABI::cli
