#include "cli/progress_bar.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <string>

#include "cli/figures.hpp"
#include "cli/output.hpp"
#include "os/file.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::cli {
namespace os = internal::os;
namespace {

constexpr double kBetween = 0.05;  // seconds; a chunk of a fast job takes less than one

std::string progress_line(const WarmProgress& progress) {
  const auto left = static_cast<std::uint64_t>(progress.seconds_left().value_or(0));
  return fmt::format("{}  {} of {}  {:.2f} GB/s  ETA {}:{:02}",
                     bar_text(progress.done, progress.total), to_iec(progress.done),
                     to_iec(progress.total), progress.bytes_per_second() / 1e9, left / 60,
                     left % 60);
}

}  // namespace

ProgressBar::ProgressBar() noexcept : wanted_(os::is_terminal(2)) {}

ProgressBar::~ProgressBar() {
  if (shown_) tell(kEraseLine);
}

void ProgressBar::show(const WarmProgress& progress) {
  if (!wanted_ || progress.seconds < next_) return;
  next_ = progress.seconds + kBetween;
  // Over the last one, which may have been longer.
  tell(fmt::format("\r{}{}", progress_line(progress), kEraseLineEnd));
  shown_ = true;
}

}  // namespace tapedeck::cli
