// SPDX-License-Identifier: Apache-2.0
/// @file
/// `CudaKernels`: loads the kernels of llama_kernels.cu, and launches each with the grid it needs.
#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <span>
#include <string>
#include <type_traits>

#include "llama/llama_kernels.hpp"
#include "llama/llama_weights.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/device/cuda_launch.hpp"
#include "tapedeck/device/device.hpp"
#include "tapedeck/device/device_span.hpp"

extern "C" const unsigned char llama_kernels[];

namespace tapedeck::llama {

/// The kernels for activations and a KV cache of type `Element`, which is `float` or `Float16`.
///
/// Each function puts the kernels of one operation on the stream. Functions that have the same name
/// in llama/kernels.hpp compute the same. A context of the device must be current, and all
/// addresses must be on the device. All functions throw DeviceError.
template <class Element>
class CudaKernels {
 public:
  /// @param step  read by the kernels when they run.
  CudaKernels(StreamHandle stream, const StepInput* step) : stream_(stream), step_(step) {}

  /// Copies the row of `table` for the step's token.
  void embed(const Matrix& table, DeviceSpan<Element> out) const {
    kernels_for(table).embed.launch(Grid::over(out.size()), stream_, table.bytes.data(), step_,
                                    out.data(), count(out.size()));
  }

  void rmsnorm(DeviceSpan<Element> x, std::span<const float> weight, DeviceSpan<Element> out,
               float epsilon) const {
    rmsnorm_.launch({.blocks = 1, .threads = 1024}, stream_, x.data(), weight.data(), out.data(),
                    count(out.size()), epsilon);
  }

  /// @pre the matrix has `out.size()` rows and `x.size()` columns
  void multiply(const Matrix& matrix, DeviceSpan<Element> x, DeviceSpan<Element> out) const {
    kernels_for(matrix).multiply.launch(Grid::over(out.size() * kWarp), stream_,
                                        matrix.bytes.data(), x.data(), out.data(),
                                        count(out.size()), count(x.size()));
  }

  /// Rotates the pairs of all heads in `x` to the step's position.
  void rotate(DeviceSpan<Element> x, DeviceSpan<float> frequencies) const {
    const std::size_t pairs = x.size() / 2;
    rotate_.launch(Grid::over(pairs), stream_, x.data(), frequencies.data(), step_,
                   count(pairs / frequencies.size()), count(frequencies.size()));
  }

  /// Copies `rows`, a row of K followed by a row of V, into the caches at the step's position.
  void append(DeviceSpan<Element> rows, DeviceSpan<Element> keys, DeviceSpan<Element> values,
              std::size_t key_width) const {
    append_.launch(Grid::over(rows.size()), stream_, rows.data(), step_, keys.data(), values.data(),
                   count(key_width), count(rows.size() - key_width));
  }

  /// Attends to all positions up to and including the step's.
  void attend(DeviceSpan<Element> query, DeviceSpan<Element> keys, DeviceSpan<Element> values,
              const AttentionPartials& partials, DeviceSpan<Element> mixed,
              const AttentionHeads& heads) const {
    const std::size_t warps = std::size_t{heads.heads} * kAttentionParts;
    attend_.launch(Grid::over(warps * kWarp), stream_, query.data(), keys.data(), values.data(),
                   step_, partials, heads);
    join_.launch(Grid::over(mixed.size()), stream_, partials, step_, mixed.data(), heads);
  }

  void swiglu(DeviceSpan<Element> gate, DeviceSpan<Element> up) const {
    swiglu_.launch(Grid::over(gate.size()), stream_, gate.data(), up.data(), count(gate.size()));
  }

  void add(DeviceSpan<Element> x, DeviceSpan<Element> y) const {
    add_.launch(Grid::over(x.size()), stream_, x.data(), y.data(), count(x.size()));
  }

 private:
  static constexpr std::size_t kWarp = 32;

  using Embed = Kernel<const std::byte*, const StepInput*, Element*, unsigned>;
  using Multiply = Kernel<const std::byte*, const Element*, Element*, unsigned, unsigned>;

  /// The kernels for matrices of one type.
  struct OfType {
    DType type;
    Embed embed;
    Multiply multiply;
  };

  [[nodiscard]] static unsigned count(std::size_t n) noexcept { return static_cast<unsigned>(n); }

  // A kernel's name is its operation followed by the types it works on.
  template <class Found>
  [[nodiscard]] Found find_kernel(const std::string& name) const {
    return module_.find<Found>((name + '_' + std::string(to_string(kElementType))).c_str());
  }
  [[nodiscard]] OfType of_type(DType type) const {
    const std::string suffix = '_' + std::string(to_string(type));
    return {.type = type,
            .embed = find_kernel<Embed>("embed" + suffix),
            .multiply = find_kernel<Multiply>("multiply" + suffix)};
  }
  [[nodiscard]] const OfType& kernels_for(const Matrix& matrix) const {
    const auto found = std::ranges::find(types_, matrix.dtype, &OfType::type);
    assert(found != types_.end());  // a matrix has a type of kMatrixTypes
    return *found;
  }

  using Rmsnorm = Kernel<const Element*, const float*, Element*, unsigned, float>;
  using Rotate = Kernel<Element*, const float*, const StepInput*, unsigned, unsigned>;
  using Append = Kernel<const Element*, const StepInput*, Element*, Element*, unsigned, unsigned>;
  using Attend = Kernel<const Element*, const Element*, const Element*, const StepInput*,
                        AttentionPartials, AttentionHeads>;
  using Join = Kernel<AttentionPartials, const StepInput*, Element*, AttentionHeads>;
  using Pairwise = Kernel<Element*, const Element*, unsigned>;

  static constexpr DType kElementType = std::is_same_v<Element, Float16> ? DType::f16 : DType::f32;

  StreamHandle stream_;
  const StepInput* step_;
  KernelModule module_{llama_kernels};
  std::array<OfType, 4> types_ = {of_type(kMatrixTypes[0]), of_type(kMatrixTypes[1]),
                                  of_type(kMatrixTypes[2]), of_type(kMatrixTypes[3])};
  Rmsnorm rmsnorm_ = find_kernel<Rmsnorm>("rmsnorm");
  Rotate rotate_ = find_kernel<Rotate>("rotate");
  Append append_ = find_kernel<Append>("append");
  Attend attend_ = find_kernel<Attend>("attend");
  Join join_ = find_kernel<Join>("join");
  Pairwise swiglu_ = find_kernel<Pairwise>("swiglu");
  Pairwise add_ = find_kernel<Pairwise>("add");
};

}  // namespace tapedeck::llama
