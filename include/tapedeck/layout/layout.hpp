/// @file
/// `Layout`: the three tapes of an inference host, and their lifecycle.
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

/// A device, and what of the model lies on it.
struct LayoutGpu {
  Device* device = nullptr;    ///< Outlives the layout.
  std::optional<Plan> plan{};  ///< Its part of the model; nothing: the layout's whole plan.
  DeviceLayoutOptions options{};
};

struct LayoutOptions {
  /// Conversations held at a time, each with a history of its own. A plan has its own number.
  std::size_t talks = 1;
  Commit commit = Commit::at_creation;  ///< Of a layout made from a plan.
  std::uint64_t growth_step = 256;      ///< Tokens that `prepare` commits at least, at a time.
  LayoutSizes extra{};                  ///< Bytes for takes above what is planned.
  /// Bytes that the planned regions of all histories may have committed at a time; 0: as many as
  /// are planned. A `prepare` beyond it takes the pages of cleared and closed talks first.
  std::size_t history_budget = 0;
  /// Weights that lie in memory already and outlive the layout, such as a `Weights`. The weights
  /// tape is then their whole range, full, and `weights_at` gives each planned tensor where it
  /// lies there. Several layouts may share them.
  const WeightsOwner* loaded_weights = nullptr;
  /// How each tape is made. The weights tape starts warm; the others are made resident by their
  /// first use, or by `scratch().warm()` and `talk(i).warm()`.
  TapeOptions weights{.name = "weights"};
  TapeOptions scratch{.name = "scratch"};
  TapeOptions history{.name = "history"};
  std::vector<LayoutGpu> gpus{};  ///< `kMostGpus` at most; of a layout made from a plan.
};

/// What `Layout::open` makes of a model's file.
struct OpenLayoutOptions {
  PlanOptions plan{};
  LayoutOptions layout{};    ///< `loaded_weights` is set by `open`.
  WeightsOptions weights{};  ///< Mapped or read.
  WarmOptions warm{};
  /// The layout is there at once, and its weights arrive while it computes, in the order of the
  /// layers: `OwnedWeights::wait_for` before a tensor is read.
  bool while_arriving = false;
};

/// Owns the three tapes of an inference host:
///
/// | tape    | holds                               | given back by                 |
/// |---------|-------------------------------------|-------------------------------|
/// | weights | the model                           | nothing, while inferring      |
/// | scratch | temporaries of one forward pass     | `clear_pass()`, every token   |
/// | history | the KV cache of a conversation      | `clear_talk()`                |
///
/// Thread-safety: each tape has one writer, and so has each talk; `clear_pass` is called by the
/// writer of scratch, `clear_talk` by the writer of both. Talks may be opened and closed from any
/// thread. `total`, `stat` and `talk_stat` may be called from any thread at any time. A layout does
/// not move: tapes are handed out by reference.
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
  /// Creates all tapes or throws and leaves nothing behind. Its talks count no tokens.
  /// @throws InvalidArgument for a size or a number of talks of 0, or for devices; SystemError;
  /// OutOfMemory.
  explicit Layout(const LayoutSizes& sizes, LayoutOptions options = {});

  /// Creates exactly the regions of a plan, or throws and leaves nothing behind: `used()` of each
  /// tape is then the plan's `bytes()`, now and after every clear.
  /// @throws InvalidArgument for a plan of another profile than `native`, for more than 2^20 talks,
  /// an `options.talks` that is neither 1 nor the plan's, a region that is stricter aligned than a
  /// page, extra weights besides loaded ones, loaded weights without a tensor of the plan or with
  /// one of another type or size, or devices that make no sense; SystemError; OutOfMemory;
  /// DeviceError.
  explicit Layout(Plan plan, LayoutOptions options = {});

  /// Plans a model's file and makes a layout that owns its weights. Of `tapedeck::weights`, which
  /// is linked for it besides the core.
  /// @code{.cpp}
  /// // compile only
  /// using namespace tapedeck;
  /// Layout layout = Layout::open("llama.gguf", {.weights = {.way = Way::map}});
  /// const Region& norm = layout.plan().weights.at("output_norm.weight");
  /// std::cout << layout.weights_at<float>(norm)[0] << '\n';
  /// @endcode
  /// @throws as `read_model`, `make_plan`, `Weights::open` and the constructor; where weights are
  /// waited for, what `OwnedWeights::wait` throws and what `WarmResult::or_throw` makes of its
  /// result.
  [[nodiscard]] static Layout open(const std::filesystem::path& path,
                                   OpenLayoutOptions options = {});

  ~Layout();

  /// The counterpart on a device, in the order of `LayoutOptions::gpus`. Its talks are opened and
  /// closed by themselves. @throws InvalidArgument where there is no such device.
  [[nodiscard]] DeviceLayout& gpu(std::size_t i) {
    require_gpu(i);
    return *gpus_[i];
  }
  /// As the other `gpu`.
  [[nodiscard]] const DeviceLayout& gpu(std::size_t i) const {
    require_gpu(i);
    return *gpus_[i];
  }
  [[nodiscard]] std::size_t gpus() const noexcept { return gpus_.size(); }

  /// The weights that `open` brought in, or brings in; nullptr for any other layout.
  [[nodiscard]] OwnedWeights* opened_weights() const noexcept { return owned_.get(); }

  /// The end of a forward pass: scratch is given back, here and on the devices (where a frame is
  /// still read: `gpu(i).clear_pass(event)` instead). O(1), no system call.
  /// @throws PassViolation, only while a strict `PassGuard` watches; scratch is then cleared too.
  void clear_pass() {
    scratch_.clear();
    for (const auto& gpu : gpus_) gpu->clear_pass();
    internal::increase(passes_, std::uint64_t{1});
    if (guard_ != nullptr) [[unlikely]]
      end_guarded_pass();
  }

  /// The end of a conversation: its history, and scratch, are given back, here and on the devices.
  /// O(1), no system call. `talk(i).clear()` leaves scratch, and the devices, alone.
  /// @throws InvalidArgument where there is no such talk; WrongState where it is closed.
  void clear_talk(std::size_t talk = 0);

  /// Calls of `clear_pass`. For readers, too.
  [[nodiscard]] std::uint64_t passes() const noexcept {
    return passes_.load(std::memory_order_relaxed);
  }

  /// Bytes reserved: the sum over all tapes.
  [[nodiscard]] std::size_t total() const noexcept;

  /// All figures at once: no system call, no lock.
  [[nodiscard]] Stat stat() const noexcept;

  /// Fills in a `Stat` that `stat()` of this layout returned, or a new one. For sampling every
  /// token: the slots of devices that the layout does not have are not zeroed again.
  void stat(Stat& stat) const noexcept;

 private:
  friend class PassGuard;

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

  std::unique_ptr<OwnedWeights> owned_;  // the weights tape gives nothing back to them
  std::vector<std::unique_ptr<DeviceLayout>> gpus_;
  bool wipe_scratch_ = false;
  std::atomic<std::uint64_t> passes_{0};
  std::atomic<std::uint64_t> conversations_{0};
  PassGuard* guard_ = nullptr;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
