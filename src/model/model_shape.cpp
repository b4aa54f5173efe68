#include "tapedeck/model/model_shape.hpp"

#include "tapedeck/base/checked.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

const char* to_string(Attention kind) noexcept {
  switch (kind) {
    case Attention::none:
      return "none";
    case Attention::full:
      return "full";
    case Attention::windowed:
      return "windowed";
    case Attention::chunked:
      return "chunked";
    case Attention::latent:
      return "latent";
  }
  return "unknown";
}

const char* to_string(Recurrence kind) noexcept {
  switch (kind) {
    case Recurrence::none:
      return "none";
    case Recurrence::mamba1:
      return "mamba1";
    case Recurrence::mamba2:
      return "mamba2";
    case Recurrence::gated_delta:
      return "gated delta";
    case Recurrence::short_convolution:
      return "short convolution";
    case Recurrence::rwkv:
      return "rwkv";
  }
  return "unknown";
}

bool StoredQuantization::covers(const Parameter& parameter) const noexcept {
  const bool expert = parameter.kind == ParameterKind::expert;
  if (!known || (!expert && (experts_only || parameter.kind != ParameterKind::matrix))) {
    return false;
  }
  // A router decides, and is small: no method touches it.
  return parameter.id.part != Part::router && !leaves_out(parameter.id.part);
}

std::optional<std::uint64_t> ModelShape::parameter_count() const noexcept {
  if (parameters.empty()) return std::nullopt;
  std::uint64_t sum = 0;
  for (const Parameter& part : parameters) {
    const auto elements = checked_mul<std::uint64_t>(part.count, part.rows, part.columns);
    const auto with = elements ? checked_add<std::uint64_t>(sum, *elements) : std::nullopt;
    if (!with) return std::nullopt;
    sum = *with;
  }
  return sum;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
