// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/model/model_shape.hpp"

#include <array>
#include <cstddef>

#include "base/checked_sizes.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

const char* to_string(Attention kind) noexcept {
  constexpr std::array names = {"none", "full", "windowed", "chunked", "latent"};
  return names[static_cast<std::size_t>(kind)];
}

const char* to_string(Recurrence kind) noexcept {
  constexpr std::array names = {"none", "mamba1", "mamba2", "gated delta", "short convolution",
                                "rwkv"};
  return names[static_cast<std::size_t>(kind)];
}

bool StoredQuantization::covers(const Parameter& parameter) const noexcept {
  const bool expert = parameter.kind == ParameterKind::expert;
  if (!known || (!expert && (experts_only || parameter.kind != ParameterKind::matrix))) {
    return false;
  }
  // No method quantizes routers: they are small, and their accuracy matters.
  return parameter.id.part != Part::router && !leaves_out(parameter.id.part);
}

std::optional<std::uint64_t> ModelShape::parameter_count() const noexcept {
  if (parameters.empty()) return std::nullopt;
  internal::CheckedSize sum = 0;
  for (const Parameter& part : parameters) {
    sum = sum + internal::CheckedSize(part.count) * part.rows * part.columns;
  }
  return sum.value();
}

}  // namespace tapedeck::inline TAPEDECK_ABI
