// SPDX-License-Identifier: Apache-2.0
/// @file
/// `fit`: in which modes a model fits in a host and a device, and how much more would fit.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/fit/budget.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Modes of running a model, in order of preference.
enum class FitMode : std::uint8_t {
  full_cache,       ///< Weights, history and scratch are on the device.
  layer_streaming,  ///< Weights are on the host; layers take turns in two slots on the device.
  first_layers,     ///< First n layers and their history on the device, the rest on the host.
  host_only,        ///< No device is used.
};

/// "full cache on the device", "layer streaming through two slots", …
[[nodiscard]] std::string_view description(FitMode mode) noexcept;

/// What one side, host or device, must hold, and what it can provide, in bytes.
struct FitSide {
  std::uint64_t needed = 0;
  std::uint64_t available = 0;

  [[nodiscard]] bool fits() const noexcept { return needed <= available; }
  /// The bytes that are left if it fits, otherwise 0.
  [[nodiscard]] std::uint64_t margin() const noexcept { return fits() ? available - needed : 0; }
  /// The bytes that are missing if it does not fit, otherwise 0.
  [[nodiscard]] std::uint64_t shortfall() const noexcept { return fits() ? 0 : needed - available; }
};

/// One mode of running the model, with the memory that it needs.
///
/// - `full_cache`: the device holds the whole plan.
/// - `layer_streaming`: the host holds the weights. The device holds the tensors that belong to no
///   layer, history, scratch, and two slots for the largest streamed layer. The first layers may be
///   resident as well; `device.needed` counts them only if that takes less memory, or if the
///   requested rate requires it. The members from `resident_layers` to `least_tokens_per_second`
///   are only for this mode; all but the last are 0 if the device cannot hold the slots.
/// - `first_layers`: the device holds weights and history of the first `device_layers` layers. The
///   host holds the other layers and everything that belongs to no layer. Both hold scratch.
/// - `host_only`: the host holds the whole plan.
///
/// Overhead is counted on the device if one is used, and foreign memory on the host. The members
/// `largest_` and `_type` vary one option each and leave the others unchanged, but `first_layers`
/// may then place fewer layers on the device.
struct FitChoice {
  FitMode mode = FitMode::host_only;
  bool reference_decoder = true;  ///< The reference decoder supports it (not `first_layers`).
  /// The device's memory is memory of the host: `host.needed` is what both hold together, so that
  /// each byte counts once against each of the two limits.
  bool integrated = false;
  std::uint64_t device_layers = 0;  ///< Layers on the device; only for `first_layers`.
  FitSide device{};
  FitSide host{};

  std::uint64_t resident_layers = 0;  ///< Number of first layers that can be resident.
  std::uint64_t resident_needed = 0;  ///< Device bytes with `resident_layers`; >= `device.needed`.
  std::uint64_t token_bytes = 0;      ///< Bytes that a decode step copies to the device.
  /// The highest rate that the bus allows; 0 if it is not known, or if nothing is copied.
  double ceiling_tokens_per_second = 0;
  double least_tokens_per_second = 0;  ///< The requested rate; 0 if none was requested.

  /// In tokens, up to what the model was trained for; 0 if not even 1 would fit.
  std::uint64_t largest_context = 0;
  /// In tokens of a prompt, up to the context; 0 if not even 1 would fit.
  std::uint64_t largest_micro_batch = 0;
  /// In tokens of a decode step, up to 65,536; 0 if not even 1 would fit.
  std::uint64_t largest_decode_batch = 0;

  /// If the mode does not fit: the widest type of K and V that would make it fit, if there is one.
  std::optional<DType> kv_type{};
  /// If the mode does not fit: the widest type of the matrices that would make it fit, if any.
  std::optional<DType> weights_type{};

  /// How reliable the figures are: as reliable as their plan, except that the weights of a mode
  /// that splits layers are estimated unless the model's tensors are known.
  PlanCertainty certainty{};
  /// The warnings of the plan that the figures come from, one for each assumption.
  std::vector<std::string> warnings{};

  [[nodiscard]] bool fits() const noexcept { return device.fits() && host.fits(); }
  /// True if the device could hold the slots, but the bus cannot reach the requested rate. The mode
  /// then does not fit, and `device.needed` includes enough resident layers to reach it.
  [[nodiscard]] bool too_slow() const noexcept {
    return ceiling_tokens_per_second != 0 && ceiling_tokens_per_second < least_tokens_per_second;
  }
  /// The bytes that remain on the side that has less left, of the sides that hold anything.
  [[nodiscard]] std::uint64_t margin() const noexcept;
  /// The bytes that are missing on both sides together. If both are one memory, on the side that
  /// lacks more.
  [[nodiscard]] std::uint64_t shortfall() const noexcept;
};

/// Thrown by `fit` if the model fits in no mode. `needed` and `available` describe the mode with
/// the smallest shortfall, on the side that lacks more. The advice lists what would make it fit.
class NothingFits : public OutOfMemory {
 public:
  /// @pre `choices` is not empty, none of them fits, and the smallest shortfall comes first.
  NothingFits(const std::string& model, std::vector<FitChoice> choices,
              const std::string& device_limit, const std::string& host_limit);

  [[nodiscard]] const std::vector<FitChoice>& choices() const noexcept { return choices_; }

 private:
  std::vector<FitChoice> choices_;
};

/// Thrown by `fit` if the sizes of the weights are unknown: whether the model fits is then unknown,
/// too. `argument` is the option that states them.
class UnknownWeights : public InvalidArgument {
 public:
  /// @pre The weights of the plan are unknown.
  UnknownWeights(const std::string& model, const Plan& plan);

  /// Those of the plan, which include the reason.
  [[nodiscard]] const std::vector<std::string>& warnings() const noexcept { return warnings_; }

 private:
  std::vector<std::string> warnings_;
};

/// Requirements other than memory that a mode must meet to fit.
struct FitOptions {
  /// Tokens per second that layer streaming must reach; 0 accepts any rate. Ignored if the bus
  /// bandwidth of the device is not known.
  double least_tokens_per_second = 0;
};

/// Returns all modes of running the model: first those that fit, in the order of `FitMode`, then
/// those that do not, in the order of their shortfall. The result is exact: with one byte less than
/// `needed` a mode does not fit. For a safety margin, set `PlanOptions::overhead`; what libraries
/// take outside the tapes, state with `PlanOptions::foreign`. Its addresses count against those of
/// `HostBudget::limits` that limit what is mapped.
///
/// The weights of `layer_streaming` are those of `plan_streaming`. If the model is only a
/// config.json, or if weights of another type are requested, a layer's size is estimated as its
/// share of the tensors of each kind; the two modes that split layers are only as exact as this
/// estimate. If `PlanOptions::weights_bytes` states the size of all weights, these two modes are
/// left out, since the sizes of the layers are unknown. Plans the model about a hundred times.
/// Thread-safety: a pure function.
/// @throws NothingFits; UnknownWeights; InvalidArgument as from `make_plan`, as from
/// `plan_streaming` for a model with too many experts, and for rates that are negative or not
/// finite.
/// @code{.cpp}
/// // compile only
/// using namespace tapedeck;
/// const Model model = read_model("llama.gguf");
/// const DeviceBudget gpu = {.free = 22_GiB, .total = 24_GiB, .name = "GPU 0"};
/// for (const FitChoice& way : fit(model, {.total_context = 32'768}, host_budget(), gpu)) {
///   if (!way.fits()) break;
///   std::cout << description(way.mode) << ": " << to_iec(way.margin()) << " left, up to "
///             << way.largest_context << " tokens\n";
/// }
/// @endcode
[[nodiscard]] std::vector<FitChoice> fit(const Model& model, const PlanOptions& options,
                                         const HostBudget& host,
                                         const std::optional<DeviceBudget>& device = {},
                                         const FitOptions& least = {});

}  // namespace tapedeck::inline TAPEDECK_ABI
