// SPDX-License-Identifier: Apache-2.0
/// @file
/// `WeightsBuilder`: builds weights that are in no file (converted, merged) in memory that
/// processes share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/memory/block_options.hpp"
#include "tapedeck/weights/weights.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Describes a tensor to build.
struct TensorSpec {
  std::string name{};
  DType dtype = DType::f32;
  std::vector<std::uint64_t> shape{};  ///< Slowest dimension first; at most 8.
};

struct WeightsBuilderOptions {
  std::string name = "weights";  ///< Shown in /proc/PID/maps; the one file's path is "shared:NAME".
  /// If the host's pool has too few pages for `explicit_pages`, `transparent` is used instead, and
  /// `Weights::unmet` reports it.
  HugePages huge_pages = HugePages::transparent;
};

/// Builds weights in a memfd: it provides space for all tensors, the engine fills it, and `seal`
/// seals it. No process can write or shrink sealed memory again, so readers need not trust its
/// creator. It exists as long as a process holds it, and needs neither a daemon nor a file.
///
/// Thread-safety: `bytes` from any thread; no thread may write while `seal` runs.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// WeightsBuilder builder({{.name = "merged", .dtype = DType::f32, .shape = {2, 4}}});
/// builder.as<float>(0)[7] = 0.5F;
/// const Weights weights = std::move(builder).seal();
/// assert(weights.at("merged").as<float>()[7] == 0.5F);
/// // weights.send(socket);  ... and at the other end: Weights::receive(socket)
/// @endcode
class WeightsBuilder {
 public:
  /// Allocates the memory, which holds zeros.
  /// @throws InvalidArgument if there are no tensors, if two have the same name, or if a shape
  /// cannot be stored or counted; OutOfMemory if the host or the cgroup has no room; SystemError.
  explicit WeightsBuilder(const std::vector<TensorSpec>& tensors,
                          const WeightsBuilderOptions& options = {});
  WeightsBuilder(WeightsBuilder&&) noexcept;
  WeightsBuilder& operator=(WeightsBuilder&&) noexcept;
  ~WeightsBuilder();

  /// The memory to write a tensor to; its address is a multiple of 64.
  /// @pre tensor < number of tensors
  [[nodiscard]] std::span<std::byte> bytes(std::size_t tensor) noexcept;
  /// `bytes` as elements of `T`.
  /// @pre tensor < number of tensors; sizeof(T) is one element, or one block
  template <TensorElement T>
  [[nodiscard]] std::span<T> as(std::size_t tensor) noexcept {
    const std::span<std::byte> all = bytes(tensor);
    return {reinterpret_cast<T*>(all.data()), all.size() / sizeof(T)};
  }

  /// Seals the memory (F_SEAL_WRITE, SHRINK, GROW). Spans that `bytes` returned become invalid.
  /// @throws SystemError.
  [[nodiscard]] Weights seal() &&;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
