// SPDX-License-Identifier: Apache-2.0
#include "cli/talks.hpp"

#include <fmt/format.h>

#include <chrono>
#include <sstream>
#include <string_view>
#include <utility>

#include "base/amounts.hpp"
#include "cli/exit_codes.hpp"
#include "cli/interrupt.hpp"
#include "cli/output.hpp"
#include "layout/stat_walk.hpp"
#include "llama/talk.hpp"
#include "os/descriptor.hpp"
#include "os/file.hpp"
#include "os/new_file.hpp"
#include "os/process.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/telemetry/live/stat_publisher.hpp"
#include "tapedeck/telemetry/metrics/metrics_server.hpp"
#include "tapedeck/telemetry/recording/phases.hpp"
#include "tapedeck/telemetry/recording/recorder.hpp"

namespace tapedeck::cli {
namespace {

constexpr const char* kName = "decode";  // the layout's name in metrics and recordings
constexpr std::size_t kTokensPerLine = 32;

// Saves the cursor and goes to the start of the next line, which is added if there is none.
constexpr std::string_view kGoBelow =
    "\x1b"
    "D\x1b[A\x1b"
    "7\x1b[B\r";
constexpr std::string_view kGoBack =
    "\x1b"
    "8";

// Of the single bytes, control characters would control the terminal; only white space is text.
bool is_text(std::string_view piece) {
  if (piece.size() != 1) return true;
  const auto byte = static_cast<unsigned char>(piece[0]);
  return (byte >= ' ' && byte != 0x7F) || (byte >= '\t' && byte <= '\r');
}

// If the layout has a device, the talk is on it, and so its line is shown.
std::string stat_line(const Stat& stat) {
  const bool on_device = stat.gpus != 0;
  return fmt::format("{} | {}", on_device ? stat.gpu[0].line() : stat.line(),
                     internal::count_of(on_device ? stat.gpu[0].tokens : stat.tokens, "token"));
}

// Prints talks one after the other, as text or as ids. With `stat`, it also prints statistics to
// standard error. On a terminal this is a line that is rewritten in place, below the text if that
// goes to the terminal, too; otherwise it is a line every 32 tokens, which interrupts the text if
// both go to the same file.
class TalkPrinter {
 public:
  TalkPrinter(const Talks& talks, const Layout& layout) : talks_(talks), layout_(layout) {
    if (talks.stat) stat_ = chosen_stats();
  }

  // The first token is BOS, which has no text, or the prompt's first token if the model has no BOS.
  void begin_talk(llama::TokenId first) { print(std::nullopt, first); }

  bool print_token(llama::TokenId previous, llama::TokenId token) {
    make_way();
    print(previous, token);
    if (stat_ != Stats::off) show_stat();
    return reading_;
  }

  void end_talk() {
    make_way();
    if (shown_ && stat_ == Stats::in_place) tell("\n");
    shown_ = false;
    reading_ = output_.write("\n");
  }

  // False once the output is closed.
  [[nodiscard]] bool reading() const noexcept { return reading_; }

 private:
  enum class Stats : unsigned char { off, lines, lines_in_text, in_place, below_text };

  // Whether standard output and standard error are the same file or pipe.
  static bool is_one_file() {
    const internal::os::FileFacts out = internal::os::facts(kOutput);
    const internal::os::FileFacts err = internal::os::facts(kError);
    return out.error == 0 && err.error == 0 && out.stamp == err.stamp;
  }

  static Stats chosen_stats() {
    if (!internal::os::is_terminal(kError)) {
      return is_one_file() ? Stats::lines_in_text : Stats::lines;
    }
    return internal::os::is_terminal(kOutput) ? Stats::below_text : Stats::in_place;
  }

  [[nodiscard]] bool in_lines() const noexcept {
    return stat_ == Stats::lines || stat_ == Stats::lines_in_text;
  }

  // Erases the statistics below the text before more text is written.
  void make_way() const {
    if (shown_ && stat_ == Stats::below_text) tell(kEraseBelow);
  }

  void print(std::optional<llama::TokenId> previous, llama::TokenId token) {
    if (talks_.ids) {
      reading_ = output_.write(fmt::format("{}{}", previous ? " " : "", token));
    } else if (!talks_.tokenizer.is_end(token)) {
      const std::string_view piece = talks_.tokenizer.decode(previous, token);
      if (is_text(piece)) reading_ = output_.write(piece);
    }
  }

  void show_stat() {
    ++tokens_;
    if (in_lines() && tokens_ % kTokensPerLine != 0) return;
    const std::string line = stat_line(layout_.stat());
    if (in_lines()) {
      tell((stat_ == Stats::lines_in_text ? "\n" : "") + line + '\n');
    } else if (stat_ == Stats::in_place) {
      tell(fmt::format("\r{}{}", line, kEraseLineEnd));
    } else {
      tell(fmt::format("{}{}{}{}", kGoBelow, line, kEraseLineEnd, kGoBack));
    }
    shown_ = !in_lines();
  }

  const Talks& talks_;
  const Layout& layout_;
  bool reading_ = true;
  Output output_;
  Stats stat_ = Stats::off;
  bool shown_ = false;
  std::size_t tokens_ = 0;
};

SnapshotOptions scraped(std::span<const WeightsFile> files) {
  ProcessOptions process;
  for (const WeightsFile& file : files) process.model_files.push_back(file.path);
  return {.devices = true, .process = std::move(process)};
}

// "phase prefill: entered 1, passes 3; peaks: host scratch 1 KiB, host history 4 KiB". Tapes that
// were never used are left out, such as the host's if everything is on a device.
std::string phase_line(const PhaseFigures& phase) {
  std::string counted;
  for (const StatField<PhaseFigures>& field : phase_fields()) {
    counted += fmt::format("{}{} {}", counted.empty() ? "" : ", ", field.name, field.of(phase));
  }
  std::string peaks;
  internal::for_each_tape(phase.peaks, phase.gpus,
                          [&](Place place, TapeKind tape, std::uint64_t bytes) {
                            if (bytes == 0) return;
                            peaks += fmt::format("{}{} {} {}", peaks.empty() ? "; peaks: " : ", ",
                                                 to_string(place), to_string(tape), to_iec(bytes));
                          });
  return fmt::format("phase {}: {}{}\n", phase.name, counted, peaks);
}

// An argument as it is typed into a shell.
std::string quoted(const std::string& argument) {
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789%+,-./:=@_";
  if (!argument.empty() && argument.find_first_not_of(kPlain) == std::string::npos) return argument;
  std::string text = "'";
  for (const char c : argument) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

// The command line of this process; empty if it is unknown.
std::string command_line() {
  std::string line;
  for (const std::string& argument : internal::os::process_arguments()) {
    line += (line.empty() ? "" : " ") + quoted(argument);
  }
  return line;
}

// Publishes, serves and records a layout's memory while it decodes, as the options say. Tracks
// phases: "load" from the constructor on, then those of each talk.
class Telemetry {
 public:
  Telemetry(const TelemetryOptions& options, Layout& layout, std::span<const WeightsFile> files)
      : recorder_(recorder_for(options, layout, files)),
        phases_(layout, recorder_ ? &*recorder_ : nullptr) {
    phase_.emplace(phases_, "load");
    if (options.record) recording_.emplace(*options.record);
    if (!options.publish.empty()) publisher_.emplace(layout, options.publish);
    if (!options.metrics) return;
    server_.emplace(std::vector<WatchedLayout>{{&layout, kName, &phases_}}, *options.metrics,
                    scraped(files));
    tell(fmt::format("metrics at http://{}/metrics\n", server_->address()));
  }

  void enter_phase(std::string_view phase) { phase_.emplace(phases_, phase); }

  // Called when a pass has ended and been cleared.
  void end_pass() {
    if (publisher_) publisher_->publish();
    if (recorder_) recorder_->pass();
  }

  void end_talk() { phase_.reset(); }

  // Returns one line per phase.
  [[nodiscard]] std::string phases_text() const {
    std::string text;
    for (const PhaseFigures& phase : phases_.figures()) text += phase_line(phase);
    return text;
  }

  // Writes the recording, if there is one, to its file.
  void save() {
    if (!recorder_) return;
    std::ostringstream lines;
    recorder_->write(lines);
    recording_->write(std::as_bytes(std::span(lines.view())));
    recording_->put_in_place();
  }

 private:
  static std::optional<Recorder> recorder_for(const TelemetryOptions& options, Layout& layout,
                                              std::span<const WeightsFile> files) {
    if (!options.record) return std::nullopt;
    RecorderOptions recorded = {.name = kName, .samples = kMostSamples, .command = command_line()};
    if (!files.empty()) recorded.model = files.front().path.string();
    return std::optional<Recorder>(std::in_place, layout, std::move(recorded));
  }

  std::optional<Recorder> recorder_;
  std::optional<internal::NewFile> recording_;
  Phases phases_;
  std::optional<PhaseScope> phase_;
  std::optional<StatPublisher> publisher_;
  std::optional<MetricsServer> server_;  // destroyed first, because its threads read the phases
};

// Returns the number of passes.
std::size_t hold_each(Talks& talks, llama::TalkDecoder& decoder, Telemetry& telemetry,
                      TalkPrinter& printer) {
  const llama::OnToken on_token = [&](llama::TokenId previous, llama::TokenId token) {
    telemetry.end_pass();
    return printer.print_token(previous, token);
  };
  const llama::OnPhase on_phase = [&](std::string_view phase) { telemetry.enter_phase(phase); };
  std::size_t passes = 0;
  for (const std::vector<llama::TokenId>& prompt : talks.prompts) {
    decoder.clear_talk();  // not after the last talk, which the statistics show
    printer.begin_talk(prompt[0]);
    passes += llama::hold_talk(decoder, talks.sampler, prompt, talks.positions,
                               talks.tokenizer.ends(), talks.stop, on_token, on_phase);
    telemetry.end_talk();
    printer.end_talk();
    if (talks.stop || !printer.reading()) break;
  }
  return passes;
}

// Saves the recording if loading or decoding fails.
template <class Work>
auto saved_if_it_fails(Telemetry& telemetry, const Work& work) {
  try {
    return work();
  } catch (...) {
    telemetry.save();
    throw;
  }
}

}  // namespace

int hold_talks(Talks& talks, llama::TalkDecoder& decoder, Layout& layout,
               const std::function<void()>& load) {
  Telemetry telemetry(talks.telemetry, layout, talks.files);
  if (load) saved_if_it_fails(telemetry, load);
  TalkPrinter printer(talks, layout);
  const auto start = std::chrono::steady_clock::now();
  const std::size_t passes =
      saved_if_it_fails(telemetry, [&] { return hold_each(talks, decoder, telemetry, printer); });
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const bool unread = !talks.stop && !printer.reading();
  if (!unread) {
    tell(fmt::format("{} in {:.2f} s, {:.1f} tokens/s\n", internal::count_of(passes, "token"),
                     seconds.count(), static_cast<double>(passes) / seconds.count()));
    if (talks.stat) tell(layout.stat().text() + telemetry.phases_text());
  }
  telemetry.save();
  if (unread) return kPipeClosed;
  return talks.stop ? kInterrupted : 0;
}

}  // namespace tapedeck::cli
