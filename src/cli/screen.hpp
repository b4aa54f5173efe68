/// @file
/// The whole terminal, for a view that is drawn again and again.
#pragma once

#include <span>
#include <string>

#include "cli/output.hpp"
#include "os/terminal.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::cli {
namespace os = internal::os;

struct Line {
  std::string text;
  bool heading = false;  ///< Shown in reverse.
};

/// While alive, the program has the terminal's other screen and its keys; what was there before
/// comes back with its end, however that comes. Thread-safety: one thread.
class Screen {
 public:
  Screen();
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  /// Whether standard output is a terminal that has another screen.
  [[nodiscard]] static bool possible() noexcept;

  [[nodiscard]] os::WindowSize size() const noexcept;

  /// Draws these lines, as many and as much of them as there is room for. False when nobody reads.
  bool draw(std::span<const Line> lines);

  /// Waits for a key, a new size or a signal.
  [[nodiscard]] os::Key wait(int milliseconds) const noexcept;

 private:
  Output output_;
  int keys_;
  os::KeyByKey key_by_key_;
};

}  // namespace tapedeck::cli
