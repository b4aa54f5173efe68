/// @file
/// `fit`: in which ways a model fits into a host and a device, and how much more would.
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

/// A way to run a model, in the order they are preferred.
enum class FitMode : std::uint8_t {
  full_cache,       ///< Weights, history and scratch on the device.
  layer_streaming,  ///< Weights on the host; the device has two slots, which layers take in turn.
  first_layers,     ///< The first n layers on the device, with their history; the rest on the host.
  host_only,        ///< No device.
};

/// "full cache on the device", "layer streaming through two slots", …
[[nodiscard]] std::string_view description(FitMode mode) noexcept;

/// What one side, host or device, has to hold, and what it can give. Bytes.
struct FitSide {
  std::uint64_t needed = 0;
  std::uint64_t available = 0;

  [[nodiscard]] bool fits() const noexcept { return needed <= available; }
  /// What is left where it fits, else 0.
  [[nodiscard]] std::uint64_t margin() const noexcept { return fits() ? available - needed : 0; }
  /// What is missing where it does not fit, else 0.
  [[nodiscard]] std::uint64_t shortfall() const noexcept { return fits() ? 0 : needed - available; }
};

/// One way to run the model, with its bytes.
///
/// Of `full_cache` the device holds the whole plan. Of `layer_streaming` the host holds the
/// weights, and the device the tensors that belong to no layer, history, scratch, and two slots of
/// the largest layer that takes turns; first layers may stay beside them, which `needed` counts
/// only where it takes less with them, or where a stated rate cannot be reached without. Of
/// `first_layers` the device holds weights and history of the first `device_layers` layers, the
/// host the others and what belongs to no layer, and both a scratch. Of `host_only` the host holds
/// the whole plan. Overhead is counted on the device where one is used.
struct FitChoice {
  FitMode mode = FitMode::host_only;
  bool reference_decoder = true;  ///< The reference decoder runs this; not so `first_layers`.
  std::uint64_t device_layers = 0;
  FitSide device{};
  FitSide host{};

  // Of `layer_streaming`, with what the device can give; all 0 elsewhere, and where that does not
  // hold the slots.
  std::uint64_t resident_layers = 0;  ///< The first ones, which stay on the device: all that fit.
  std::uint64_t resident_needed = 0;  ///< What the device then holds: `device.needed`, or more.
  std::uint64_t token_bytes = 0;      ///< What a token's step copies to the device.
  /// What the bus carries at most. 0: it is not known, or nothing is copied.
  double ceiling_tokens_per_second = 0;
  double least_tokens_per_second = 0;  ///< As asked; 0: nothing was.

  // The largest that would fit, all else as asked (of `first_layers` perhaps with fewer layers on
  // the device); 0 where not even 1 does.
  std::uint64_t largest_context = 0;       ///< Tokens, up to what the model was made for.
  std::uint64_t largest_micro_batch = 0;   ///< Tokens of a prompt, up to the context.
  std::uint64_t largest_decode_batch = 0;  ///< Tokens of a decode step, up to 65,536.

  // Where it does not fit: the widest type that would make it fit, all else as asked; nothing where
  // no type does.
  std::optional<DType> kv_type{};       ///< Of K and V.
  std::optional<DType> weights_type{};  ///< Of the matrices.

  [[nodiscard]] bool fits() const noexcept { return device.fits() && host.fits(); }
  /// The device would hold it, and the bus does not carry as many tokens a second as were asked:
  /// then it does not fit, and `device.needed` is where so many layers stay that it would.
  [[nodiscard]] bool too_slow() const noexcept {
    return ceiling_tokens_per_second != 0 && ceiling_tokens_per_second < least_tokens_per_second;
  }
  /// What is left on the side that has less; of the sides that hold anything.
  [[nodiscard]] std::uint64_t margin() const noexcept;
  /// What is missing, on both sides together.
  [[nodiscard]] std::uint64_t shortfall() const noexcept;
};

/// No way to run the model fits. `needed` and `available` are of the way that lacks least, on the
/// side that lacks more; the advice says what would make it fit.
class NothingFits : public OutOfMemory {
 public:
  /// @pre choices is not empty, and none fits; the one that lacks least comes first.
  NothingFits(const std::string& model, std::vector<FitChoice> choices,
              const std::string& device_limit, const std::string& host_limit);

  [[nodiscard]] const std::vector<FitChoice>& choices() const noexcept { return choices_; }

 private:
  std::vector<FitChoice> choices_;
};

/// What else a way must be to fit.
struct FitOptions {
  /// Tokens a second that layer streaming must be able to reach; 0: any. Of a device whose bus is
  /// not known nothing is refused for it.
  double least_tokens_per_second = 0;
};

/// All ways to run the model: those that fit first, in the order of `FitMode`; then those that do
/// not, the one that lacks least first. Exact: with one byte less than `needed` a way does not fit.
/// Nothing is set aside by this function; a safety margin is `PlanOptions::overhead`.
///
/// The weights of `layer_streaming` are those of `plan_streaming`. Where the model is a config.json
/// alone, or weights of another type are asked for, the bytes of one layer are its share of the
/// tensors of each kind; the two ways that split layers are then as good as that.
/// Thread-safety: a pure function. Plans the model some hundred times.
/// @throws NothingFits; InvalidArgument as `make_plan`, as `plan_streaming` for a model that states
/// too many experts, and for rates that are negative or not finite.
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
