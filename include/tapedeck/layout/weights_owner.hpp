// SPDX-License-Identifier: Apache-2.0
/// @file
/// `WeightsOwner` and `OwnedWeights`: a layout's interface to weights that are in memory already or
/// are being loaded.
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

/// How a file's bytes are brought into memory. Every method yields the same bytes.
enum class Way : std::uint8_t {
  automatic,  ///< Chosen for each file by the state of the host; see `WeightsFile::why`.
  map,        ///< The shared page cache, read-only: one copy for all processes of a host.
  read,       ///< Buffered reads, in parallel, into memory of its own (huge pages).
  direct,     ///< Like `read`, but bypasses the page cache: O_DIRECT with io_uring or threads.
  shared,     ///< Memory that another process, or a `WeightsBuilder`, filled and sealed.
};

[[nodiscard]] const char* to_string(Way way) noexcept;

struct WeightsOptions {
  Way way = Way::automatic;
  /// Huge pages of the memory that files are read into. If not set, a trial on this host decides
  /// (`huge_page_trial`) for 512 MiB or more; smaller reads use transparent huge pages.
  std::optional<HugePages> huge_pages{};
  NumaPlacement numa{};    ///< For memory that files are read into, not for the page cache.
  bool core_dump = false;  ///< Off by default because weights are on disk already.
};

/// Keeps a model's weights in memory and finds each tensor. `Weights` implements it.
class WeightsOwner {
 public:
  struct Tensor {
    DType dtype = DType::f32;
    std::span<const std::byte> bytes{};  ///< Inside `range()`.
  };

  virtual ~WeightsOwner() = default;

  /// The whole range, including gaps between tensors and between files. It never moves.
  [[nodiscard]] virtual std::span<const std::byte> range() const = 0;
  /// Returns the tensor of that name, or `nullopt` if the model has none.
  [[nodiscard]] virtual std::optional<Tensor> tensor(std::string_view name) const = 0;

 protected:
  WeightsOwner() = default;
  WeightsOwner(const WeightsOwner&) = default;
  WeightsOwner& operator=(const WeightsOwner&) = default;
};

/// Weights that belong to one layout (`Layout::open`) and may still be loading.
///
/// Thread-safety: `wait_for` and `progress` may be called from any thread, `wait` from one thread.
class OwnedWeights : public WeightsOwner {
 public:
  /// Waits until a tensor can be read without waiting for the disk. Returns false if the job ended
  /// earlier; `wait` then reports the reason.
  /// @throws InvalidArgument if the model has no such tensor.
  [[nodiscard]] virtual bool wait_for(std::string_view tensor) = 0;
  /// Waits until all weights are loaded. Later calls have the same outcome.
  /// @throws SystemError or FormatError if a file could not be brought in; whatever
  /// `WarmOptions::progress` threw.
  [[nodiscard]] virtual WarmResult wait() = 0;
  [[nodiscard]] virtual WarmProgress progress() const = 0;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
