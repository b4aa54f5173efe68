/// @file
/// `CudaKernels`: the kernels of llama_kernels.cu, loaded, with the grids that they want.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>

#include "engine/llama_kernels.hpp"
#include "engine/matrix.hpp"
#include "gpu/cuda_launch.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/gpu/device.hpp"
#include "tapedeck/gpu/device_span.hpp"

extern "C" const unsigned char llama_kernels[];

namespace tapedeck::inline TAPEDECK_ABI::engine {

/// Each function puts one kernel on a stream; what it computes is that of the same name in
/// engine/kernels.hpp. Needs a device's context current. All addresses are the device's. All throw
/// DeviceError.
class CudaKernels {
 public:
  /// The row of `table` that `step->token` says.
  void embed(StreamHandle stream, const Matrix& table, const StepInput* step,
             DeviceSpan<float> out) const {
    of(table).embed.launch(Grid::over(out.size()), stream, table.bytes.data(), step, out.data(),
                           count(out.size()));
  }

  void rmsnorm(StreamHandle stream, DeviceSpan<float> x, std::span<const float> weight,
               DeviceSpan<float> out, float epsilon) const {
    rmsnorm_.launch({.blocks = 1, .threads = 1024}, stream, x.data(), weight.data(), out.data(),
                    count(out.size()), epsilon);
  }

  /// @pre the matrix has `out.size()` rows and `x.size()` columns
  void multiply(StreamHandle stream, const Matrix& matrix, DeviceSpan<float> x,
                DeviceSpan<float> out) const {
    of(matrix).multiply.launch(Grid::over(out.size() * kWarp), stream, matrix.bytes.data(),
                               x.data(), out.data(), count(out.size()), count(x.size()));
  }

  /// Turns the pairs of all heads in `x` to the position of the step.
  void rotate(StreamHandle stream, DeviceSpan<float> x, DeviceSpan<float> frequencies,
              const StepInput* step) const {
    const std::size_t pairs = x.size() / 2;
    rotate_.launch(Grid::over(pairs), stream, x.data(), frequencies.data(), step,
                   count(pairs / frequencies.size()), count(frequencies.size()));
  }

  /// Puts the row of K and, behind it, the row of V where the step's position has them.
  void append(StreamHandle stream, DeviceSpan<float> rows, const StepInput* step,
              DeviceSpan<float> keys, DeviceSpan<float> values, std::size_t key_width) const {
    append_.launch(Grid::over(rows.size()), stream, rows.data(), step, keys.data(), values.data(),
                   count(key_width), count(rows.size() - key_width));
  }

  /// Over the positions so far, with the step's.
  void attend(StreamHandle stream, DeviceSpan<float> query, DeviceSpan<float> keys,
              DeviceSpan<float> values, const StepInput* step, const AttentionPartials& partials,
              DeviceSpan<float> mixed, const AttentionHeads& heads) const {
    const std::size_t warps = std::size_t{heads.heads} * kAttentionParts;
    attend_.launch(Grid::over(warps * kWarp), stream, query.data(), keys.data(), values.data(),
                   step, partials, heads);
    join_.launch(Grid::over(mixed.size()), stream, partials, step, mixed.data(), heads);
  }

  void swiglu(StreamHandle stream, DeviceSpan<float> gate, DeviceSpan<float> up) const {
    swiglu_.launch(Grid::over(gate.size()), stream, gate.data(), up.data(), count(gate.size()));
  }

  void add(StreamHandle stream, DeviceSpan<float> x, DeviceSpan<float> y) const {
    add_.launch(Grid::over(x.size()), stream, x.data(), y.data(), count(x.size()));
  }

 private:
  static constexpr std::size_t kWarp = 32;

  using Embed = Kernel<const std::byte*, const StepInput*, float*, unsigned>;
  using Multiply = Kernel<const std::byte*, const float*, float*, unsigned, unsigned>;

  /// For matrices of one type.
  struct OfType {
    DType type;
    Embed embed;
    Multiply multiply;
  };

  [[nodiscard]] static unsigned count(std::size_t n) noexcept { return static_cast<unsigned>(n); }

  [[nodiscard]] OfType find(DType type) const {
    const std::string suffix(to_string(type));
    return {.type = type,
            .embed = module_.find<const std::byte*, const StepInput*, float*, unsigned>(
                ("embed_" + suffix).c_str()),
            .multiply = module_.find<const std::byte*, const float*, float*, unsigned, unsigned>(
                ("multiply_" + suffix).c_str())};
  }
  [[nodiscard]] const OfType& of(const Matrix& matrix) const {
    for (const OfType& one : types_) {
      if (one.type == matrix.dtype) return one;
    }
    throw InvalidArgument("no kernels for matrices of " + std::string(to_string(matrix.dtype)));
  }

  KernelModule module_{llama_kernels};
  std::array<OfType, 4> types_ = {find(kMatrixTypes[0]), find(kMatrixTypes[1]),
                                  find(kMatrixTypes[2]), find(kMatrixTypes[3])};
  Kernel<const float*, const float*, float*, unsigned, float> rmsnorm_ =
      module_.find<const float*, const float*, float*, unsigned, float>("rmsnorm");
  Kernel<float*, const float*, const StepInput*, unsigned, unsigned> rotate_ =
      module_.find<float*, const float*, const StepInput*, unsigned, unsigned>("rotate");
  Kernel<const float*, const StepInput*, float*, float*, unsigned, unsigned> append_ =
      module_.find<const float*, const StepInput*, float*, float*, unsigned, unsigned>(
          "append_rows");
  Kernel<const float*, const float*, const float*, const StepInput*, AttentionPartials,
         AttentionHeads>
      attend_ = module_.find<const float*, const float*, const float*, const StepInput*,
                             AttentionPartials, AttentionHeads>("attend_parts");
  Kernel<AttentionPartials, const StepInput*, float*, AttentionHeads> join_ =
      module_.find<AttentionPartials, const StepInput*, float*, AttentionHeads>("join_parts");
  Kernel<float*, const float*, unsigned> swiglu_ =
      module_.find<float*, const float*, unsigned>("swiglu");
  Kernel<float*, const float*, unsigned> add_ = module_.find<float*, const float*, unsigned>("add");
};

}  // namespace tapedeck::inline TAPEDECK_ABI::engine
