/// @file
/// `WeightsOwner` and `OwnedWeights`: what a layout must know of weights that lie in memory
/// already, or arrive there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/memory/block_options.hpp"
#include "tapedeck/memory/warm.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// How a file's bytes get into memory. All ways give the same bytes.
enum class Way : std::uint8_t {
  automatic,  ///< One of the others for each file, by what the host tells: `WeightsFile::why`.
  map,        ///< The shared page cache, read-only: one copy for all processes of a host.
  read,       ///< Buffered reads, in parallel, into memory of its own (huge pages).
  direct,     ///< As `read`, past the page cache: O_DIRECT with io_uring, or reads by threads.
  shared,     ///< Memory that another process, or a `WeightsBuilder`, filled and sealed.
};

[[nodiscard]] const char* to_string(Way way) noexcept;

struct WeightsOptions {
  Way way = Way::automatic;
  /// Of memory that is read into. Nothing: what a trial on this host found faster
  /// (`huge_page_trial`), where 512 MiB or more are read; transparent ones for less.
  std::optional<HugePages> huge_pages{};
  NumaPlacement numa{};    ///< Of memory that is read into; the page cache has its own.
  bool core_dump = false;  ///< Weights are on disk already.
};

/// Keeps a model's weights in memory and knows where each tensor lies. `Weights` is one.
class WeightsOwner {
 public:
  struct Tensor {
    DType dtype = DType::f32;
    std::span<const std::byte> bytes{};  ///< Inside `range()`.
  };

  virtual ~WeightsOwner() = default;

  /// All of it, with what lies between tensors and between files. It never moves.
  [[nodiscard]] virtual std::span<const std::byte> range() const = 0;
  /// Nothing where the model has no tensor of that name.
  [[nodiscard]] virtual std::optional<Tensor> tensor(std::string_view name) const = 0;

 protected:
  WeightsOwner() = default;
  WeightsOwner(const WeightsOwner&) = default;
  WeightsOwner& operator=(const WeightsOwner&) = default;
};

/// Weights that belong to one layout (`Layout::open`), and may still be arriving.
///
/// Thread-safety: `wait_for` and `progress` from any thread; `wait` by one.
class OwnedWeights : public WeightsOwner {
 public:
  /// Waits until a tensor can be read without waiting for the disk. False where the job ended
  /// before that; `wait` says why.
  /// @throws InvalidArgument where the model has no such tensor.
  [[nodiscard]] virtual bool wait_for(std::string_view tensor) = 0;
  /// Waits for all of them. Called again, it gives the same.
  /// @throws SystemError and FormatError where a file could not be brought in; whatever
  /// `WarmOptions::progress` threw.
  [[nodiscard]] virtual WarmResult wait() = 0;
  [[nodiscard]] virtual WarmProgress progress() const = 0;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
