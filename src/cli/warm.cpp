// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "base/amounts.hpp"
#include "base/json.hpp"
#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "cli/interrupt.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/plan_text.hpp"
#include "model/unwritten.hpp"
#include "os/descriptor.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/weights/weights.hpp"

namespace tapedeck::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kBetweenBars = 0.05;  // seconds; chunks of a fast job are more frequent

struct WarmArguments {
  std::string model;
  std::optional<Way> way;
  unsigned threads = 0;
  std::optional<double> deadline;  // seconds after the start of the command
  bool lock = false;
  bool json = false;
};

// The result of a warm, and what it was run with.
struct Report {
  const WarmArguments& arguments;
  const Weights& weights;
  const WarmResult& result;
  bool locked = false;
};

// Shows the progress of a warm: a line on standard error that is rewritten in place, and erased by
// the destructor. Prints nothing if standard error is not a terminal.
class ProgressBar {
 public:
  ProgressBar() noexcept : wanted_(internal::os::is_terminal(kError)) {}
  ~ProgressBar() {
    if (shown_) tell(kEraseLine);
  }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void show(const WarmProgress& progress) {
    if (!wanted_ || progress.seconds < next_) return;
    next_ = progress.seconds + kBetweenBars;
    // The rest of the line is erased, because the previous one may have been longer.
    tell(fmt::format("\r{}  {} of {}{}{}", bar_text(progress.done, progress.total),
                     to_iec(progress.done), to_iec(progress.total), speed_text(progress),
                     kEraseLineEnd));
    shown_ = true;
  }

 private:
  // Both are unknown before the first byte.
  static std::string speed_text(const WarmProgress& progress) {
    const std::optional<double> seconds = progress.seconds_left();
    if (!seconds) return {};
    const auto left = static_cast<std::uint64_t>(*seconds);
    return fmt::format("  {:.2f} GB/s  ETA {}:{:02}", progress.bytes_per_second() / 1e9, left / 60,
                       left % 60);
  }

  bool wanted_;
  bool shown_ = false;
  double next_ = 0;  // when the line may be written again, in seconds since the job's start
};

WarmResult warm_watched(Weights& weights, const WarmArguments& arguments, Clock::time_point start) {
  const std::atomic<bool>& interrupted = stop_on_interrupt();
  std::stop_source stop;
  ProgressBar bar;
  WarmOptions options = {.threads = arguments.threads, .stop = stop.get_token()};
  if (arguments.deadline) {
    options.deadline = start + std::chrono::duration_cast<Clock::duration>(
                                   std::chrono::duration<double>(*arguments.deadline));
  }
  // Called between two chunks, where a job can be stopped.
  options.progress = [&](const WarmProgress& progress) {
    if (interrupted) stop.request_stop();
    bar.show(progress);
  };
  WarmResult result = weights.warm(std::move(options), layer_order(weights.tensors()));
  end_on_interrupt();
  return result;
}

std::string why_text(const Report& report, const WeightsFile& file) {
  return report.arguments.way ? file.why : "the default: the file stays in the page cache";
}

// 0 if nothing was warmed, so that the speed is not known.
double bytes_per_second(const WarmResult& result) {
  return result.seconds > 0 ? static_cast<double>(result.warmed) / result.seconds : 0;
}

std::optional<std::uint64_t> cached_before(const Weights& weights) {
  std::optional<std::uint64_t> sum = 0;
  for (const WeightsFile& file : weights.files()) sum = internal::known_sum(sum, file.cached);
  return sum;
}

std::string warm_as_text(const Report& report) {
  const WarmResult& result = report.result;
  std::string text;
  for (const WeightsFile& file : report.weights.files()) {
    text += fmt::format("file      {}: {}, {} ({})\n", printable(file.path.string()),
                        to_iec(file.bytes), to_string(file.way), printable(why_text(report, file)));
  }
  text += fmt::format("\nend       {}\n", to_string(result.end));
  text += fmt::format("warmed    {} of {} ({})\n", to_iec(result.warmed), to_iec(result.asked),
                      internal::count_of(result.warmed, "byte"));
  const double rate = bytes_per_second(result);
  text += fmt::format("time      {:.3f} s{}\n", result.seconds,
                      rate == 0 ? "" : fmt::format(", {:.2f} GB/s", rate / 1e9));
  const std::optional<std::uint64_t> cached = cached_before(report.weights);
  text += fmt::format("before    {}{}\n", size_text(cached), cached ? " in the page cache" : "");
  text += fmt::format("present   {}\n", size_text(result.present));
  text += fmt::format("huge      {}\n", size_text(result.huge));
  text += fmt::format("faults    {} minor, {} major\n", result.minor_faults, result.major_faults);
  if (report.locked) text += "locked    completely, until this program ends\n";
  for (const Unmet& unmet : report.weights.unmet()) {
    text += fmt::format("unmet     {}\n", printable(unmet.text));
  }
  return text + warnings_text(internal::warnings_of_unwritten(report.weights.tensors()));
}

nlohmann::ordered_json warm_as_json(const Report& report) {
  const WarmResult& result = report.result;
  const auto file_json = [&](const WeightsFile& file) -> nlohmann::ordered_json {
    return {{"path", printable(file.path.string())},
            {"bytes", file.bytes},
            {"way", to_string(file.way)},
            {"why", printable(why_text(report, file))},
            {"cached_before", internal::number_json(file.cached)}};
  };
  const auto unmet_text = [](const Unmet& unmet) { return printable(unmet.text); };
  nlohmann::ordered_json json = {
      {"schema", kWarmSchema},
      {"model", printable(report.arguments.model)},
      {"files", json_list(report.weights.files(), file_json)},
      {"end", to_string(result.end)},
      {"asked", result.asked},
      {"warmed", result.warmed},
      {"seconds", result.seconds},
      {"bytes_per_second", rate_json(bytes_per_second(result))},
      {"present", internal::number_json(result.present)},
      {"huge", internal::number_json(result.huge)},
      {"minor_faults", result.minor_faults},
      {"major_faults", result.major_faults},
      {"locked", report.locked},
      {"unmet", json_list(report.weights.unmet(), unmet_text)},
      {"warnings", internal::warnings_of_unwritten(report.weights.tensors())}};
  if (result.end == WarmEnd::over_budget) {
    json["budget"] = {{"available", result.available}, {"limit", result.limit}};
  }
  return json;
}

// Reports why a warm is incomplete, and returns the exit code.
int tell_end(const WarmResult& result, const WarmArguments& arguments) {
  const std::string far =
      fmt::format("warmed {} of {}", to_iec(result.warmed), to_iec(result.asked));
  switch (result.end) {
    case WarmEnd::complete:
      return 0;
    case WarmEnd::stopped:
      tell_error("stopped: " + far);
      return kInterrupted;
    case WarmEnd::past_deadline:
      tell_error(fmt::format("the deadline of {} s passed: {}", *arguments.deadline, far));
      return kPastDeadline;
    case WarmEnd::failed:  // `Weights::warm` throws instead
    case WarmEnd::over_budget:
      break;
  }
  tell_error(fmt::format("the rest does not fit in the {} that is left ({}): {}",
                         to_iec(result.available), result.limit, far));
  return kOverBudget;
}

int warm(const WarmArguments& arguments) {
  const Clock::time_point start = Clock::now();
  Weights weights = Weights::open(arguments.model, {.way = arguments.way.value_or(Way::map)});
  const WarmResult result = warm_watched(weights, arguments, start);
  // After an unfinished job, locking would load the rest, which was left out for a reason.
  const bool locked = arguments.lock && result && weights.lock();
  const Report report = {arguments, weights, result, locked};
  Output().write(arguments.json ? json_text(warm_as_json(report)) : warm_as_text(report));
  return tell_end(result, arguments);
}

}  // namespace

void add_warm(CLI::App& program, int& exit_code) {
  CLI::App* command = program.add_subcommand(
      "warm", "Loads a model's files into memory, layer by layer, and reports the speed.");
  command->footer(
      "With --way map the files stay in the page cache for any engine that is started next. The\n"
      "other ways read into this program's own memory, and so only measure the speed.");
  auto arguments = std::make_shared<WarmArguments>();
  WarmArguments& a = *arguments;
  add_model(*command, a.model);
  add_way(*command, a.way,
          "How to load the files; automatic: as the library would choose for an engine [map]");
  add_threads(*command, a.threads, "Number of threads that read [one per CPU, at most 16]");
  command
      ->add_option("--deadline", a.deadline,
                   "Start no more reads this many seconds after the start [no deadline]")
      ->check(seconds_from_now())
      ->option_text("SECONDS");
  command->add_flag("--lock", a.lock,
                    "Then try to lock the files in RAM (mlock), and report whether the host allows "
                    "it. The lock ends with this program");
  add_json(*command, a.json);
  command->callback([arguments, &exit_code] { exit_code = warm(*arguments); });
}

}  // namespace tapedeck::cli
