// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Layout`: the three tapes of an inference host and their lifecycle.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/device_layout.hpp"
#include "tapedeck/layout/side.hpp"
#include "tapedeck/layout/stat.hpp"
#include "tapedeck/layout/weights_owner.hpp"
#include "tapedeck/memory/tape.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

class PassGuard;
class PeakWatch;

/// A device of a layout and the part of the model that is on it.
struct LayoutGpu {
  Device* device = nullptr;    ///< Must outlive the layout.
  std::optional<Plan> plan{};  ///< The device's part of the model. If not set, the layout's plan.
  DeviceLayoutOptions options{};
};

/// The options of a layout. `talks` and the options of the three tapes are for every layout, all
/// others for a layout made from a plan; one made from sizes refuses them.
struct LayoutOptions {
  /// Conversations held at the same time, each with its own history. With a plan, leave this at 1
  /// or repeat `Plan::talks`, which sets the number.
  std::size_t talks = 1;
  Commit commit = Commit::at_creation;
  std::uint64_t growth_step = 256;  ///< The fewest tokens that `prepare` commits in one step.
  LayoutSizes extra{};              ///< Bytes for takes above the plan.
  /// The most bytes that planned regions of all histories may have committed; 0 allows all that is
  /// planned. A `prepare` beyond it first takes the pages of cleared and closed talks. Each region
  /// of a talk is committed in whole pages, so even one token costs a page for each region.
  std::size_t history_budget = 0;
  /// Tokens of room that a thread of the layout prepares in advance, so that `prepare` finds them.
  /// 0 starts no thread. Use it together with `resident_growth`; growth without it costs little.
  std::uint64_t ahead = 0;
  /// Makes the pages of histories resident when they are prepared, by `prepare` or on the thread of
  /// `ahead`, so that the pass which writes to them first has no page fault. A talk then takes RAM
  /// in whole growth steps. Has no effect with `Commit::at_creation`.
  bool resident_growth = false;
  /// Keeps rows that were not prepared inaccessible, so that an engine that writes one is stopped
  /// by a signal there. Each growth then makes system calls for each region, and each region of a
  /// talk takes two of the process's mappings (`vm.max_map_count`). Builds with AddressSanitizer
  /// always do this.
  bool guard_unprepared = false;
  /// Weights that are already in memory, such as a `Weights`. They must outlive the layout; several
  /// layouts may share them. The weights tape then spans their whole range and is full, and
  /// `weights_at` returns each planned tensor in place.
  const WeightsOwner* loaded_weights = nullptr;
  /// Options of each tape. The weights tape starts warm. The others become resident on first use,
  /// or by `scratch().warm()` and `talk(i).warm()`.
  TapeOptions weights{.name = "weights"};
  TapeOptions scratch{.name = "scratch"};
  TapeOptions history{.name = "history"};
  std::vector<LayoutGpu> gpus{};  ///< At most `kMostGpus`.
};

/// How `Layout::open` plans and loads a model's file.
struct OpenLayoutOptions {
  PlanOptions plan{};
  LayoutOptions layout{};    ///< `open` sets `loaded_weights`, and refuses others.
  WeightsOptions weights{};  ///< How the file's bytes are brought into memory.
  WarmOptions warm{};
  /// Makes `open` return before the weights are loaded. They arrive in the order of the layers
  /// while the engine computes; call `OwnedWeights::wait_for` before reading a tensor.
  bool while_arriving = false;
};

/// Owns the three tapes of an inference host:
///
/// | tape    | holds                               | is cleared by                       |
/// |---------|-------------------------------------|-------------------------------------|
/// | weights | the model                           | nothing                             |
/// | scratch | temporaries of one forward pass     | `clear_pass()`, after every token   |
/// | history | the KV cache of a conversation      | `clear_talk()`                      |
///
/// In a layout made from a **plan**, the plan's regions are below the floor of each tape. They keep
/// their addresses through every clear. Further takes come from the room above the floor.
///
/// Tapes are handed out by reference, so a layout can be neither copied nor moved.
///
/// Thread-safety: each tape and each talk has one writer. `clear_pass` must be called by the writer
/// of scratch, `clear_talk` by the writer of scratch and of the talk. Talks may be opened and
/// closed from any thread. `total`, `stat` and `talk_stat` may be called from any thread at any
/// time.
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
/// From a plan, here of a single region; `make_plan` makes one for a model:
/// @code{.cpp}
/// using namespace tapedeck;
/// Plan plan;
/// plan.history.append({.name = "layers.0.k", .role = RegionRole::kv, .bytes = 4_MiB,
///                      .alignment = 4096, .growth = {.bytes_per_token = 1024, .capacity = 4096}});
/// Layout layout(plan, {.commit = Commit::with_talks, .growth_step = 1});
/// Talk talk = layout.talk(0);
/// talk.prepare(100);  // room for a hundred tokens: 100 KiB
/// std::span<std::byte> keys = layout.history_at(*layout.plan().history.find("layers.0.k"));
/// keys[talk.advance() * 1024] = std::byte{1};  // the row of the next token
/// assert(talk.tokens() == 1 && layout.history().committed() == 100_KiB);
/// assert(layout.stat().history.used == 1_KiB);
/// talk.rewind(1);  // a draft that was rejected
/// @endcode
class Layout : public internal::Side<internal::HostMemory> {
 public:
  /// Creates all tapes, or throws and leaves nothing behind. Talks of such a layout do not count
  /// tokens.
  /// @throws InvalidArgument if a size or the number of talks is 0, or if an option is set that
  /// only a layout made from a plan has (see `LayoutOptions`); SystemError; OutOfMemory.
  explicit Layout(const LayoutSizes& sizes, LayoutOptions options = {});

  /// Creates exactly the regions of a plan, or throws and leaves nothing behind. `used()` of each
  /// tape is the plan's `bytes()`, now and after every clear.
  /// @throws InvalidArgument if
  /// - the plan's profile is not `native`, or one of its tapes is of the wrong kind;
  /// - the plan has no talks or more than 2^20, or `options.talks` is neither 1 nor the plan's;
  /// - a region needs a stricter alignment than a page has;
  /// - there are both loaded weights and `extra.weights`;
  /// - the loaded weights lack a planned tensor, or have it in another type or size;
  /// - there are more than `kMostGpus` devices, or one is null or plans another number of talks.
  /// @throws SystemError, OutOfMemory or DeviceError if memory cannot be obtained.
  explicit Layout(Plan plan, LayoutOptions options = {});

  /// Plans a model's file and makes a layout that owns the weights. Requires linking
  /// `tapedeck::weights` in addition to the core.
  /// @code{.cpp}
  /// // compile only
  /// using namespace tapedeck;
  /// Layout layout = Layout::open("llama.gguf", {.weights = {.way = Way::map}});
  /// const Region& norm = layout.plan().weights.at("output_norm.weight");
  /// std::cout << layout.weights_at<const float>(norm)[0] << '\n';
  /// @endcode
  /// @throws what `read_model`, `make_plan`, `Weights::open` and the constructor throw and, unless
  /// `while_arriving` is set, what `OwnedWeights::wait` and `WarmResult::or_throw` throw.
  [[nodiscard]] static Layout open(const std::filesystem::path& path,
                                   OpenLayoutOptions options = {});

  ~Layout();

  /// Returns the layout on device `i`, in the order of `LayoutOptions::gpus`. Its talks are opened
  /// and closed independently of the host's.
  /// @throws InvalidArgument if the layout has no such device.
  [[nodiscard]] DeviceLayout& gpu(std::size_t i) {
    require_gpu(i);
    return *gpus_[i];
  }
  /// Returns the layout on device `i`. @throws InvalidArgument if the layout has no such device.
  [[nodiscard]] const DeviceLayout& gpu(std::size_t i) const {
    require_gpu(i);
    return *gpus_[i];
  }
  [[nodiscard]] std::size_t gpus() const noexcept { return gpus_.size(); }

  /// Returns the weights that `open` has loaded or is loading; nullptr for any other layout.
  [[nodiscard]] OwnedWeights* opened_weights() const noexcept { return owned_.get(); }

  /// Ends a forward pass: clears scratch on the host and on all devices. If a device may still be
  /// reading its scratch, use `gpu(i).clear_pass(event)` for it instead. O(1), no system call.
  /// @throws PassViolation if a strict `PassGuard` found a cost. Scratch is cleared nevertheless.
  void clear_pass() {
    scratch_.clear();
    for (const auto& gpu : gpus_) gpu->clear_pass();
    internal::increase(passes_, std::uint64_t{1});
    if (guard_ != nullptr) [[unlikely]]
      end_guarded_pass();
  }

  /// Ends a conversation: clears its history and scratch, on the host and on all devices. O(1)
  /// without `wipe_on_clear`, no system call. Use `talk(i).clear()` to clear only the history on
  /// the host.
  /// @throws InvalidArgument if the layout has no such talk; WrongState if the talk is closed.
  void clear_talk(std::size_t talk = 0);

  /// Number of calls of `clear_pass`. May be called from any thread.
  [[nodiscard]] std::uint64_t passes() const noexcept {
    return passes_.load(std::memory_order_relaxed);
  }

  /// Bytes reserved by all tapes, on the host and on all devices.
  [[nodiscard]] std::size_t total() const noexcept;

  /// Returns all metrics. Makes no system call and takes no lock. O(talks).
  [[nodiscard]] Stat stat() const noexcept;

  /// Fills in a `Stat` that is new or was filled by this layout. Use this to sample every token: it
  /// does not zero the slots of devices that the layout does not have.
  void stat(Stat& stat) const noexcept;

 private:
  friend class PassGuard;
  friend class PeakWatch;

  Layout(Plan plan, LayoutOptions options, std::unique_ptr<OwnedWeights> owned);

  void require_gpu(std::size_t i) const {
    if (i >= gpus_.size()) [[unlikely]]
      throw_no_such_gpu(i);
  }
  [[noreturn]] void throw_no_such_gpu(std::size_t i) const;
  [[nodiscard]] Tape weights_tape(LayoutOptions& options);
  void find_loaded(const WeightsOwner& loaded);
  void make_gpus(std::vector<LayoutGpu> gpus);
  void end_guarded_pass();
  void count_conversation(std::size_t talk) noexcept;

  std::unique_ptr<OwnedWeights> owned_;  // the weights tape refers to these
  std::vector<std::unique_ptr<DeviceLayout>> gpus_;
  bool wipe_scratch_ = false;
  std::atomic<std::uint64_t> passes_{0};
  std::atomic<std::uint64_t> conversations_{0};  // those that no talk of the host counts
  PassGuard* guard_ = nullptr;
  PeakWatch* peak_watches_ = nullptr;  // a list
};

}  // namespace tapedeck::inline TAPEDECK_ABI
