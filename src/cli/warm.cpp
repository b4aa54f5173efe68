#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <system_error>

#include "base/json.hpp"
#include "cli/commands.hpp"
#include "cli/figures.hpp"
#include "cli/interrupt.hpp"
#include "cli/option_values.hpp"
#include "cli/output.hpp"
#include "cli/progress_bar.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/weights/weights.hpp"

namespace tapedeck::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kOverBudget = 3;
constexpr int kPastDeadline = 4;
constexpr double kMostSeconds = 1e9;

struct WarmArguments {
  std::string model;
  std::optional<Way> way;
  unsigned threads = 0;
  std::optional<double> deadline;  // seconds, from the start of the command
  bool lock = false;
  bool json = false;
};

// What was done, and with what.
struct Report {
  const WarmArguments& arguments;
  const Weights& weights;
  const WarmResult& result;
  bool locked = false;
};

Way way_of(const std::string& name) {
  for (const Way way : {Way::automatic, Way::map, Way::read}) {
    if (name == to_string(way)) return way;
  }
  return Way::direct;
}

double seconds_of(const std::string& text) {
  double seconds = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, seconds);
  // Written so that what is no number is refused too.
  const bool sensible = seconds >= 0 && seconds <= kMostSeconds;
  if (error != std::errc{} || rest != end || !sensible) {
    throw CLI::ValidationError("--deadline", "no number of seconds: " + text);
  }
  return seconds;
}

WarmResult warm_watched(Weights& weights, const WarmArguments& arguments, Clock::time_point start) {
  const std::atomic<bool>& interrupted = stop_on_interrupt();
  std::stop_source stop;
  ProgressBar bar;
  WarmOptions options = {.threads = arguments.threads, .stop = stop.get_token()};
  if (arguments.deadline) {
    options.deadline = start + std::chrono::duration_cast<Clock::duration>(
                                   std::chrono::duration<double>(*arguments.deadline));
  }
  // Called between two chunks, which is where a job can end.
  options.progress = [&](const WarmProgress& progress) {
    if (interrupted) stop.request_stop();
    bar.show(progress);
  };
  WarmResult result = weights.warm(std::move(options), layer_order(weights.tensors()));
  end_on_interrupt();
  return result;
}

std::string why_text(const Report& report, const WeightsFile& file) {
  return report.arguments.way ? file.why : "the default: it stays in the page cache";
}

double bytes_per_second(const WarmResult& result) {
  return result.seconds > 0 ? static_cast<double>(result.warmed) / result.seconds : 0;
}

std::optional<std::uint64_t> cached_before(const Weights& weights) {
  std::uint64_t sum = 0;
  for (const WeightsFile& file : weights.files()) {
    if (!file.cached) return std::nullopt;
    sum += *file.cached;
  }
  return sum;
}

std::string as_text(const Report& report) {
  const WarmResult& result = report.result;
  std::string text;
  for (const WeightsFile& file : report.weights.files()) {
    text += fmt::format("file      {}: {}, {} ({})\n", printable(file.path.string()),
                        to_iec(file.bytes), to_string(file.way), printable(why_text(report, file)));
  }
  text += fmt::format("\nend       {}\n", to_string(result.end));
  text += fmt::format("warmed    {} of {} ({} bytes)\n", to_iec(result.warmed),
                      to_iec(result.asked), result.warmed);
  text += fmt::format("time      {:.3f} s, {:.2f} GB/s\n", result.seconds,
                      bytes_per_second(result) / 1e9);
  text += fmt::format("before    {} in the page cache\n", size_text(cached_before(report.weights)));
  text += fmt::format("present   {}\n", size_text(result.present));
  text += fmt::format("huge      {}\n", size_text(result.huge));
  text += fmt::format("faults    {} minor, {} major\n", result.minor_faults, result.major_faults);
  if (report.locked) text += "locked    all, until this program ends\n";
  for (const Unmet& unmet : report.weights.unmet()) {
    text += fmt::format("unmet     {}\n", printable(unmet.text));
  }
  return text;
}

nlohmann::ordered_json files_json(const Report& report) {
  nlohmann::ordered_json files = nlohmann::ordered_json::array();
  for (const WeightsFile& file : report.weights.files()) {
    files.push_back({{"path", printable(file.path.string())},
                     {"bytes", file.bytes},
                     {"way", to_string(file.way)},
                     {"why", printable(why_text(report, file))},
                     {"cached_before", internal::number_json(file.cached)}});
  }
  return files;
}

nlohmann::ordered_json as_json(const Report& report) {
  const WarmResult& result = report.result;
  nlohmann::ordered_json unmet = nlohmann::ordered_json::array();
  for (const Unmet& one : report.weights.unmet()) unmet.push_back(printable(one.text));
  nlohmann::ordered_json json = {{"schema", kWarmSchema},
                                 {"model", printable(report.arguments.model)},
                                 {"files", files_json(report)},
                                 {"end", to_string(result.end)},
                                 {"asked", result.asked},
                                 {"warmed", result.warmed},
                                 {"seconds", result.seconds},
                                 {"bytes_per_second", bytes_per_second(result)},
                                 {"present", internal::number_json(result.present)},
                                 {"huge", internal::number_json(result.huge)},
                                 {"minor_faults", result.minor_faults},
                                 {"major_faults", result.major_faults},
                                 {"locked", report.locked},
                                 {"unmet", unmet}};
  if (result.end == WarmEnd::over_budget) {
    json["budget"] = {{"available", result.available}, {"limit", result.limit}};
  }
  return json;
}

// Says why not all was warmed, and gives the exit code.
int tell_end(const WarmResult& result, const WarmArguments& arguments) {
  const std::string far =
      fmt::format("{} of {} were warmed", to_iec(result.warmed), to_iec(result.asked));
  switch (result.end) {
    case WarmEnd::complete:
      return 0;
    case WarmEnd::stopped:
      tell_error("stopped: " + far);
      return kInterrupted;
    case WarmEnd::past_deadline:
      tell_error(fmt::format("the deadline of {} s passed: {}", *arguments.deadline, far));
      return kPastDeadline;
    case WarmEnd::failed:  // weights throw instead
    case WarmEnd::over_budget:
      break;
  }
  tell_error(fmt::format("the rest does not fit in the {} that are left ({}): {}",
                         to_iec(result.available), result.limit, far));
  return kOverBudget;
}

int warm(const WarmArguments& arguments) {
  const Clock::time_point start = Clock::now();
  Weights weights = Weights::open(arguments.model, {.way = arguments.way.value_or(Way::map)});
  const WarmResult result = warm_watched(weights, arguments, start);
  // Of an unfinished job, locking would bring in what was left out for a reason.
  const bool locked = arguments.lock && result && weights.lock();
  const Report report = {arguments, weights, result, locked};
  Output().write(arguments.json ? json_text(as_json(report)) : as_text(report));
  return tell_end(result, arguments);
}

}  // namespace

Command add_warm(CLI::App& program) {
  CLI::App* command = program.add_subcommand(
      "warm", "Brings a model's files into memory, layer by layer, and says how fast.");
  command->footer(
      "With --way map the files stay in the page cache, for any engine that is started next; the\n"
      "other ways read into memory of this program's own, and only measure.\n"
      "Exit codes: 3 where memory does not suffice, 4 where the deadline passed, 130 after "
      "Ctrl-C.");
  auto arguments = std::make_shared<WarmArguments>();
  WarmArguments& a = *arguments;
  command->add_option("MODEL", a.model, "GGUF, safetensors, llama2.c, or a folder of them")
      ->required();
  command
      ->add_option_function<std::string>(
          "--way", [&a](const std::string& name) { a.way = way_of(name); },
          "How; automatic: as the library chooses for an engine, by what it finds [map]")
      ->check(CLI::IsMember({"automatic", "map", "read", "direct"}))
      ->option_text("automatic|map|read|direct");
  command->add_option("--threads", a.threads, "Threads that read [the machine's, at most 16]")
      ->check(whole_number())
      ->check(CLI::Range(1U, kMostThreads));
  command
      ->add_option_function<std::string>(
          "--deadline", [&a](const std::string& text) { a.deadline = seconds_of(text); },
          "Begin nothing that many seconds after the start [none]")
      ->option_text("SECONDS");
  command->add_flag("--lock", a.lock,
                    "Try to lock it in RAM afterwards (mlock), and say whether the host allows it; "
                    "the lock ends with this program");
  command->add_flag("--json", a.json, "JSON, in whole bytes");
  return {command, [arguments] { return warm(*arguments); }};
}

}  // namespace tapedeck::cli
