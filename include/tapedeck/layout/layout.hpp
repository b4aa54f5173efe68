/// @file
/// `Layout`: the three tapes of an inference host, and their lifecycle.
#pragma once

#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/device_layout.hpp"
#include "tapedeck/layout/layout_sizes.hpp"
#include "tapedeck/layout/stat.hpp"
#include "tapedeck/layout/weights_owner.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/tape.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::internal {
class TalkRegions;
}

namespace tapedeck {
TAPEDECK_ABI_BEGIN

class PassGuard;

/// A device, and what of the model lies on it.
struct LayoutGpu {
  Device* device;              ///< Outlives the layout.
  std::optional<Plan> plan{};  ///< Its part of the model; nothing: the layout's whole plan.
  DeviceLayoutOptions options{};
};

struct LayoutOptions {
  /// Conversations held at a time, each with a history of its own. A plan has its own number.
  std::size_t talks = 1;
  Commit commit = Commit::at_creation;  ///< Of a layout made from a plan.
  std::uint64_t growth_step = 256;      ///< Tokens that `prepare` commits at least, at a time.
  LayoutSizes extra{};                  ///< Bytes for takes above what is planned.
  /// Weights that lie in memory already and outlive the layout, such as a `Weights`. The weights
  /// tape is then their whole range, full, and `weights_at` gives each planned tensor where it
  /// lies there. Several layouts may share them.
  const WeightsOwner* loaded_weights = nullptr;
  /// How each tape is made. The weights tape starts warm; the others are made resident by their
  /// first use, or by `scratch().warm()` and `history().warm()`.
  TapeOptions weights{.name = "weights"};
  TapeOptions scratch{.name = "scratch"};
  TapeOptions history{.name = "history"};
  std::vector<LayoutGpu> gpus{};  ///< `kMostGpus` at most; of a layout made from a plan.
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
/// A layout made from a **plan** has the plan's regions below the floor of each tape: they keep
/// their addresses through every clear, and what is taken besides them lies above.
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
/// The same from a plan, here of one region; `make_plan` makes one of a model's file:
/// @code{.cpp}
/// using namespace tapedeck;
/// Plan plan;
/// plan.history.append({.name = "layers.0.k", .role = RegionRole::kv, .bytes = 4_MiB,
///                      .alignment = 4096, .growth = {.bytes_per_token = 1024, .capacity = 4096}});
/// Layout layout(plan, {.commit = Commit::with_talks, .growth_step = 1});
/// layout.prepare(0, 100);  // room for a hundred tokens: 100 KiB
/// std::span<std::byte> keys = layout.history_at(*layout.plan().history.find("layers.0.k"));
/// keys[layout.advance(0) * 1024] = std::byte{1};  // the row of the next token
/// assert(layout.tokens() == 1 && layout.history().committed() == 100_KiB);
/// layout.rewind(0, 1);  // a draft that was rejected
/// @endcode
class Layout {
 public:
  /// Creates all tapes or throws and leaves nothing behind.
  /// @throws InvalidArgument for a size or a number of talks of 0; SystemError; OutOfMemory.
  explicit Layout(const LayoutSizes& sizes, LayoutOptions options = {});

  /// Creates exactly the regions of a plan, or throws and leaves nothing behind: `used()` of each
  /// tape is then the plan's `bytes()`, now and after every clear.
  /// @throws InvalidArgument for a plan of another profile than `native`, for more than 2^20 talks,
  /// an `options.talks` that is neither 1 nor the plan's, a region that is stricter aligned than a
  /// page, extra weights besides loaded ones, loaded weights without a tensor of the plan or with
  /// one of another type or size, or devices that make no sense; SystemError; OutOfMemory;
  /// DeviceError.
  explicit Layout(Plan plan, LayoutOptions options = {});

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
  [[nodiscard]] const Tape& history(std::size_t talk = 0) const noexcept {
    assert(talk < histories_.size());
    return histories_[talk];
  }
  [[nodiscard]] std::size_t talks() const noexcept { return histories_.size(); }

  /// The counterparts on a device, in the order of `LayoutOptions::gpus`. @pre i < gpus()
  [[nodiscard]] DeviceLayout& gpu(std::size_t i) noexcept {
    assert(i < gpus_.size());
    return *gpus_[i];
  }
  [[nodiscard]] const DeviceLayout& gpu(std::size_t i) const noexcept {
    assert(i < gpus_.size());
    return *gpus_[i];
  }
  [[nodiscard]] std::size_t gpus() const noexcept { return gpus_.size(); }

  /// What the layout was made from; empty where it was made from sizes.
  [[nodiscard]] const Plan& plan() const noexcept { return plan_; }

  // Where a region lies: O(1), and the address holds as long as the layout does.

  /// Loaded weights must not be written to.
  /// @throws InvalidArgument where the region is not one of `plan().weights` or of an equal plan,
  /// its elements are of another type than `T` (bytes always do), or loaded weights are not aligned
  /// for `T`.
  template <class T = std::byte>
  [[nodiscard]] std::span<T> weights_at(const Region& region) {
    const Region& own = internal::planned_region<T>(plan_.weights, region);
    std::byte* const at = loaded_at_.empty() ? weights_.data() + own.offset : loaded_at_[own.index];
    return {internal::region_elements<T>(own, at), own.bytes / sizeof(T)};
  }
  /// @throws InvalidArgument where the region is not one of `plan().scratch` or of an equal plan,
  /// or its elements are of another type than `T`.
  template <class T = std::byte>
  [[nodiscard]] std::span<T> scratch_at(const Region& region) {
    return place<T>(scratch_, plan_.scratch, region);
  }
  /// Of this, what the talk's tokens fill may be used (`advance`).
  /// @throws InvalidArgument where the region is not one of `plan().history` or of an equal plan,
  /// or its elements are of another type than `T`.
  template <class T = std::byte>
  [[nodiscard]] std::span<T> history_at(const Region& region, std::size_t talk = 0) {
    return place<T>(history(talk), plan_.history, region);
  }

  // A talk of a planned layout grows in three steps: room is prepared, between two passes; the pass
  // moves on over it and writes; a draft that is rejected is taken back.

  /// Commits what the next `tokens` of a talk need. O(1) where they have room, else O(regions) and
  /// system calls. Not inside a pass. @pre talk < talks()
  /// @throws TapeFull beyond what is planned; SystemError, and the talk is as it was;
  /// InvalidArgument in a layout without a plan.
  void prepare(std::size_t talk, std::uint64_t tokens);

  /// The talk moves on: rows of the next `tokens` may be written. Returns the first one's position.
  /// O(1), no system call. A windowed region's rows are used again in a ring.
  /// @throws TapeFull where no room is prepared; InvalidArgument in a layout without a plan.
  std::uint64_t advance(std::size_t talk, std::uint64_t tokens = 1);

  /// Takes back the last `tokens` (at most those there are), and keeps the pages. O(regions). What
  /// a window's ring or a recurrent state lost meanwhile does not come back by itself.
  void rewind(std::size_t talk, std::uint64_t tokens) noexcept;

  /// Tokens of a talk. For readers, too. 0 in a layout without a plan.
  [[nodiscard]] std::uint64_t tokens(std::size_t talk = 0) const noexcept;

  /// Makes what is prepared of a talk resident, so that no first touch faults. See `Block::warm`.
  /// @throws InvalidArgument in a layout without a plan; what `options.progress` throws.
  [[nodiscard]] WarmResult warm(std::size_t talk, const WarmOptions& options = {});

  /// Gives back the pages behind the tokens a talk has, where they were committed by `prepare`.
  /// Returns bytes.
  std::size_t decommit(std::size_t talk) noexcept;

  /// The end of a forward pass: scratch is given back, here and on the devices (where a frame is
  /// still read: `gpu(i).clear_pass(event)` instead). O(1), no system call.
  /// @throws PassViolation, only while a strict `PassGuard` watches; scratch is then cleared too.
  void clear_pass() {
    scratch_.clear();
    if (!gpus_.empty()) clear_pass_on_gpus();
    count(passes_);
    if (guard_ != nullptr) [[unlikely]]
      end_guarded_pass();
  }

  /// The end of a conversation: its history, and scratch, are given back, here and on the devices.
  /// O(1), no system call.
  /// @pre talk < talks()
  void clear_talk(std::size_t talk = 0) noexcept {
    history(talk).clear();
    scratch_.clear();
    if (!regions_.empty()) clear_regions(talk);
    if (!gpus_.empty()) clear_talk_on_gpus(talk);
    count(conversations_);
    if (guard_ != nullptr) [[unlikely]]
      restart_guard();
  }

  /// Calls of `clear_pass`. For readers, too.
  [[nodiscard]] std::uint64_t passes() const noexcept {
    return passes_.load(std::memory_order_relaxed);
  }

  /// Bytes reserved: the sum over all tapes.
  [[nodiscard]] std::size_t total() const noexcept;

  /// All figures at once: no system call, no lock.
  [[nodiscard]] Stat stat() const noexcept;

  /// The same into a `Stat` that was made so, or is new: for who asks for every token, and would
  /// clear room for devices that there are not.
  void stat(Stat& stat) const noexcept;

 private:
  friend class PassGuard;

  // One writer: a plain increment.
  static void count(std::atomic<std::uint64_t>& counter) noexcept {
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  template <class T>
  [[nodiscard]] static std::span<T> place(Tape& tape, const TapePlan& plan, const Region& region) {
    const Region& own = internal::planned_region<T>(plan, region);
    return {internal::region_elements<T>(own, tape.data() + own.offset), own.bytes / sizeof(T)};
  }
  enum class Start : std::uint8_t { warm, committed, reserved };
  [[nodiscard]] Tape make_tape(const TapePlan& plan, std::size_t extra, Start start,
                               TapeOptions options);
  [[nodiscard]] Tape reserve_tape(const TapePlan& plan, std::size_t extra, TapeOptions options);
  [[nodiscard]] Tape weights_tape(LayoutOptions& options);
  void find_loaded(const WeightsOwner& loaded);
  void make_histories(const LayoutOptions& options);
  void make_gpus(std::vector<LayoutGpu> gpus);
  void clear_pass_on_gpus() noexcept;
  void clear_talk_on_gpus(std::size_t talk) noexcept;
  [[nodiscard]] internal::TalkRegions& regions(std::size_t talk) const;
  void clear_regions(std::size_t talk) noexcept;
  void end_guarded_pass();
  void restart_guard() noexcept;

  Plan plan_;
  std::vector<Block> reserved_;  // addresses of tapes whose planned bytes are not committed at once
  Tape weights_;
  std::vector<std::byte*> loaded_at_;  // of each planned tensor, where weights were loaded
  Tape scratch_;
  std::vector<Tape> histories_;  // as many as talks, from creation on
  std::vector<std::unique_ptr<internal::TalkRegions>> regions_;  // likewise; none without a plan
  std::vector<std::unique_ptr<DeviceLayout>> gpus_;
  bool wipe_scratch_ = false;
  bool wipe_history_ = false;
  std::atomic<std::uint64_t> passes_{0};
  std::atomic<std::uint64_t> conversations_{0};
  PassGuard* guard_ = nullptr;
};

TAPEDECK_ABI_END
}  // namespace tapedeck
