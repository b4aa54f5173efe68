#include "cli/talks.hpp"

#include <fmt/format.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "cli/interrupt.hpp"
#include "cli/output.hpp"
#include "llama/talk.hpp"
#include "os/descriptor.hpp"

namespace tapedeck::cli {
namespace {

constexpr std::size_t kTokensPerLine = 32;

// Goes to the start of the next line, which is made if there is none, and remembers the place.
constexpr std::string_view kGoBelow =
    "\x1b"
    "D\x1b[A\x1b"
    "7\x1b[B\r";
constexpr std::string_view kGoBack =
    "\x1b"
    "8";

// Control characters would drive the terminal; only white space is text.
bool is_text(std::string_view piece) {
  if (piece.size() != 1) return true;
  const auto byte = static_cast<unsigned char>(piece[0]);
  return (byte >= ' ' && byte != 0x7F) || (byte >= '\t' && byte <= '\r');
}

// Where a layout has a device, its talk is there.
std::string stat_line(const Stat& stat) {
  const bool on_device = stat.gpus != 0;
  return fmt::format("{} | {} tokens", on_device ? stat.gpu[0].line() : stat.line(),
                     on_device ? stat.gpu[0].tokens : stat.tokens);
}

// Prints talks, one after the other, as text or as ids. With `stat`, a line of statistics follows
// them on standard error: rewritten in place on a terminal, below the text where that goes to the
// terminal too; elsewhere a line every 32 tokens.
class TalkPrinter {
 public:
  TalkPrinter(const Talks& talks, const Layout& layout) : talks_(talks), layout_(layout) {
    if (!talks.stat) return;
    const bool below = internal::os::is_terminal(kOutput);
    stat_ = !internal::os::is_terminal(kError) ? Stats::lines
            : below                            ? Stats::below_text
                                               : Stats::in_place;
  }

  // The first token is BOS, which has no text, or the prompt's first where a model has no BOS.
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

  // False when nobody reads any more.
  [[nodiscard]] bool reading() const noexcept { return reading_; }

 private:
  enum class Stats : unsigned char { off, lines, in_place, below_text };

  // Before text.
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
    if (stat_ == Stats::lines && tokens_ % kTokensPerLine != 0) return;
    const std::string line = stat_line(layout_.stat());
    if (stat_ == Stats::lines) {
      tell(line + '\n');
    } else if (stat_ == Stats::in_place) {
      tell(fmt::format("\r{}{}", line, kEraseLineEnd));
    } else {
      tell(fmt::format("{}{}{}{}", kGoBelow, line, kEraseLineEnd, kGoBack));
    }
    shown_ = stat_ != Stats::lines;
  }

  const Talks& talks_;
  const Layout& layout_;
  bool reading_ = true;
  Output output_;
  Stats stat_ = Stats::off;
  bool shown_ = false;
  std::size_t tokens_ = 0;
};

// Returns the passes.
std::size_t hold_each(Talks& talks, llama::TalkDecoder& decoder, DecodeTelemetry& telemetry,
                      TalkPrinter& printer) {
  const llama::OnToken on_token = [&](llama::TokenId previous, llama::TokenId token) {
    telemetry.pass();
    return printer.print_token(previous, token);
  };
  const llama::OnPhase on_phase = [&](llama::TalkPhase phase) { telemetry.enter(phase); };
  std::size_t passes = 0;
  for (const std::vector<llama::TokenId>& prompt : talks.prompts) {
    decoder.clear_talk();  // the last one stays, for the statistics
    printer.begin_talk(prompt[0]);
    passes += llama::hold_talk(decoder, talks.sampler, prompt, talks.positions,
                               talks.tokenizer.ends(), talks.stop, on_token, on_phase)
                  .passes;
    telemetry.end_talk();
    printer.end_talk();
    if (talks.stop || !printer.reading()) break;
  }
  return passes;
}

// However it ends, what was recorded is kept.
std::size_t hold_recorded(Talks& talks, llama::TalkDecoder& decoder, DecodeTelemetry& telemetry,
                          TalkPrinter& printer) {
  try {
    return hold_each(talks, decoder, telemetry, printer);
  } catch (...) {
    telemetry.save();
    throw;
  }
}

}  // namespace

int hold_talks(Talks& talks, llama::TalkDecoder& decoder, const Layout& layout,
               DecodeTelemetry& telemetry) {
  TalkPrinter printer(talks, layout);
  const auto start = std::chrono::steady_clock::now();
  const std::size_t passes = hold_recorded(talks, decoder, telemetry, printer);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const bool unread = !talks.stop && !printer.reading();
  if (!unread) {
    tell(fmt::format("{} tokens in {:.2f} s, {:.1f} tokens/s\n", passes, seconds.count(),
                     static_cast<double>(passes) / seconds.count()));
    if (talks.stat) tell(layout.stat().text() + telemetry.phases_text());
  }
  telemetry.save();
  if (unread) return kPipeClosed;
  return talks.stop ? kInterrupted : 0;
}

}  // namespace tapedeck::cli
