/// @file
/// `Layout`: the three tapes of an inference host, and their lifecycle.
#pragma once

#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/stat.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

class PassGuard;

/// Bytes of each tape.
struct LayoutSizes {
  std::size_t weights;
  std::size_t scratch;
  std::size_t history;  ///< For each talk.
};

struct LayoutOptions {
  std::size_t talks = 1;  ///< Conversations held at a time, each with a history of its own.
  /// How each tape is made. The weights tape starts warm; the others are made resident by their
  /// first use, or by `scratch().warm()` and `history().warm()`.
  TapeOptions weights{.name = "weights"};
  TapeOptions scratch{.name = "scratch"};
  TapeOptions history{.name = "history"};
};

/// Owns the three tapes of an inference host:
///
/// | tape    | holds                               | given back by                 |
/// |---------|-------------------------------------|-------------------------------|
/// | weights | the model                           | nothing, while inferring      |
/// | scratch | temporaries of one forward pass     | `clear_pass()`, every token   |
/// | history | the KV cache of a conversation      | `clear_talk()`                |
///
/// Thread-safety: each tape has one writer; `clear_pass` is called by the writer of scratch,
/// `clear_talk` by the writer of both. `total` and `stat` may be called from any thread at any
/// time. A layout does not move: tapes are handed out by reference.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB});
/// std::span<float> model = layout.weights().take<float>(1'000'000);
/// model[0] = 0.5F;
/// for (int token = 0; token < 3; ++token) {
///   std::span<float> row = layout.history().take<float>(1024);  // grows with the talk
///   std::span<float> hidden = layout.scratch().take<float>(4096);
///   row[0] = hidden[0] = model[0];
///   layout.clear_pass();  // every token
/// }
/// layout.clear_talk();  // every conversation
/// std::cout << layout.stat() << '\n';
/// @endcode
class Layout {
 public:
  /// Creates all tapes or throws and leaves nothing behind.
  /// @throws InvalidArgument for a size or a number of talks of 0; SystemError; OutOfMemory.
  explicit Layout(const LayoutSizes& sizes, LayoutOptions options = {});
  ~Layout();
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;

  [[nodiscard]] Tape& weights() noexcept { return weights_; }
  [[nodiscard]] Tape& scratch() noexcept { return scratch_; }
  /// @pre talk < talks()
  [[nodiscard]] Tape& history(std::size_t talk = 0) noexcept {
    assert(talk < histories_.size());
    return histories_[talk];
  }
  [[nodiscard]] std::size_t talks() const noexcept { return histories_.size(); }

  /// The end of a forward pass: scratch is given back. O(1), no system call.
  /// @throws PassViolation, only while a strict `PassGuard` watches; scratch is then cleared too.
  void clear_pass() {
    scratch_.clear();
    count(passes_);
    if (guard_ != nullptr) [[unlikely]]
      end_guarded_pass();
  }

  /// The end of a conversation: its history, and scratch, are given back. O(1), no system call.
  /// @pre talk < talks()
  void clear_talk(std::size_t talk = 0) noexcept {
    history(talk).clear();
    scratch_.clear();
    count(conversations_);
    if (guard_ != nullptr) [[unlikely]]
      restart_guard();
  }

  /// Bytes reserved: the sum over all tapes.
  [[nodiscard]] std::size_t total() const noexcept;

  /// All figures at once: no system call, no lock.
  [[nodiscard]] Stat stat() const noexcept;

 private:
  friend class PassGuard;

  // One writer: a plain increment.
  static void count(std::atomic<std::uint64_t>& counter) noexcept {
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  void end_guarded_pass();
  void restart_guard() noexcept;

  Tape weights_;
  Tape scratch_;
  std::vector<Tape> histories_;  // as many as talks, from creation on
  std::atomic<std::uint64_t> passes_{0};
  std::atomic<std::uint64_t> conversations_{0};
  PassGuard* guard_ = nullptr;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
