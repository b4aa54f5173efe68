// SPDX-License-Identifier: Apache-2.0
/// @file
/// `PassGuard`: counts the faults, allocations and growth of each forward pass.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/layout/layout.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The events between two `clear_pass()` calls. In steady state, every count is 0.
struct PassCost {
  std::uint64_t minor_faults = 0;  ///< Page faults of the whole process that needed no I/O.
  std::uint64_t major_faults = 0;  ///< Page faults of the process that read from disk or swap.
  /// Calls of malloc and related functions by the whole process, including operator new. Not set if
  /// the program does not link `tapedeck::heap_hook`.
  std::optional<std::uint64_t> heap_allocations{};
  std::uint64_t grows = 0;   ///< Commit steps of the layout's tapes.
  std::uint64_t spills = 0;  ///< Takes that spilled from a full tape.

  [[nodiscard]] bool free_of_cost() const noexcept;
  /// For example "2 minor faults, 1 heap allocation", or "nothing" if every count is 0.
  [[nodiscard]] std::string text() const;
};

/// Thrown by `Layout::clear_pass` under a strict guard.
class PassViolation : public internal::RuntimeError {
 public:
  PassViolation(std::uint64_t pass, const PassCost& cost);

  [[nodiscard]] ErrorKind kind() const noexcept override { return ErrorKind::wrong_state; }
  [[nodiscard]] std::vector<ErrorFact> facts() const override;

  [[nodiscard]] std::uint64_t pass() const noexcept { return pass_; }  ///< Counted from 1.
  [[nodiscard]] const PassCost& cost() const noexcept { return cost_; }

 private:
  std::uint64_t pass_;
  PassCost cost_;
};

struct PassGuardOptions {
  /// Makes `clear_pass()` throw `PassViolation` if any count of the pass that it ends is not 0.
  bool strict = false;
};

/// Watches a layout in tests and debug builds of an engine. It counts page faults, heap
/// allocations, growth and spills between two `clear_pass()` calls. `clear_talk()` discards the
/// counts since the last `clear_pass()`. Each watched pass makes one additional system call.
///
/// Thread-safety: the thread that calls `clear_pass` must create, read and destroy the guard. A
/// layout can have one guard at a time.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// Layout layout({.weights = 1_MiB, .scratch = 1_MiB, .history = 1_MiB});
/// (void)layout.scratch().warm();
/// PassGuard guard(layout);
/// for (int token = 0; token < 100; ++token) {
///   (void)layout.scratch().take<float>(1000);
///   layout.clear_pass();
/// }
/// assert(guard.total().grows == 0 && guard.passes() == 100);
/// @endcode
class PassGuard {
 public:
  /// @throws WrongState if the layout is already watched.
  explicit PassGuard(Layout& layout, PassGuardOptions options = {});
  ~PassGuard();
  PassGuard(const PassGuard&) = delete;
  PassGuard& operator=(const PassGuard&) = delete;

  /// Discards the counts since the last `clear_pass()`.
  void restart() noexcept;

  [[nodiscard]] std::uint64_t passes() const noexcept { return passes_; }
  [[nodiscard]] const PassCost& last() const noexcept { return last_; }    ///< The last pass.
  [[nodiscard]] const PassCost& total() const noexcept { return total_; }  ///< All passes.

 private:
  friend class Layout;

  [[nodiscard]] PassCost now() const noexcept;
  void end_pass();

  Layout& layout_;
  PassGuardOptions options_;
  std::uint64_t passes_ = 0;
  PassCost start_{};
  PassCost last_{};
  PassCost total_{};
};

}  // namespace tapedeck::inline TAPEDECK_ABI
