/// @file
/// `WeightsBuilder`: weights that no file has (converted, merged), in memory that processes share.
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

/// A tensor to be built.
struct TensorSpec {
  std::string name{};
  DType dtype = DType::f32;
  std::vector<std::uint64_t> shape{};  ///< Slowest dimension first; at most 8.
};

struct WeightsBuilderOptions {
  std::string name = "weights";  ///< Shown in /proc/PID/maps and as the path of the one file.
  /// `explicit_pages` of the host's pool, where there are enough; what could not be had is in
  /// `Weights::unmet`.
  HugePages huge_pages = HugePages::transparent;
};

/// Makes weights in a memfd: space for all tensors, filled by the engine, then sealed. Sealed
/// memory can never be written or shrunk again, by anybody, so its readers need not trust whom it
/// came from to leave it alone; it lives until the last process that has it goes. There is no
/// daemon and no file.
///
/// Thread-safety: `bytes` from any thread; the caller sees to it that nobody writes while `seal`
/// runs.
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
  /// Makes the memory; it holds zeros.
  /// @throws InvalidArgument for no tensor, two of one name, a shape that cannot be stored or
  /// counted; SystemError.
  explicit WeightsBuilder(const std::vector<TensorSpec>& tensors,
                          const WeightsBuilderOptions& options = {});
  WeightsBuilder(WeightsBuilder&&) noexcept;
  WeightsBuilder& operator=(WeightsBuilder&&) noexcept;
  ~WeightsBuilder();

  /// Where a tensor is to be written: at a multiple of 64. @pre tensor < number of tensors
  [[nodiscard]] std::span<std::byte> bytes(std::size_t tensor) noexcept;
  /// @pre sizeof(T) is one element, or one block
  template <TensorElement T>
  [[nodiscard]] std::span<T> as(std::size_t tensor) noexcept {
    const std::span<std::byte> all = bytes(tensor);
    return {reinterpret_cast<T*>(all.data()), all.size() / sizeof(T)};
  }

  /// Seals the memory (F_SEAL_WRITE, SHRINK, GROW): spans of `bytes` are gone with the builder.
  /// @throws SystemError.
  [[nodiscard]] Weights seal() &&;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
