/// @file
/// What one token takes from scratch above the plan's decode buffers, written once: the decoder
/// runs this list on the layout's tape, and the same list run on a `TapeMeasure` gives its size,
/// which is then exactly enough.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "llama/shape.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/device/device_span.hpp"
#include "tapedeck/memory/typed_takes.hpp"

namespace tapedeck::llama {

/// Stands in for a tape and only counts.
class TapeMeasure {
 public:
  /// @param line  the tape's: a take is in whole ones.
  explicit TapeMeasure(std::size_t line) noexcept : line_(line) {}

  template <TapeElement T>
  std::span<T> take(std::size_t count) noexcept {
    add(checked_mul<std::size_t>(count, sizeof(T)));
    return {};
  }
  void add(std::optional<std::size_t> bytes) noexcept {
    if (bytes) bytes = checked_round_up(*bytes, line_);
    bytes_ = bytes_ && bytes ? checked_add(*bytes_, *bytes) : std::nullopt;
  }
  /// Nothing where the sum does not fit.
  [[nodiscard]] std::optional<std::size_t> bytes() const noexcept { return bytes_; }

 private:
  std::size_t line_;
  std::optional<std::size_t> bytes_ = 0;
};

/// What was taken, for the host to compute in: a device's tape is one of host memory here.
template <class T>
[[nodiscard]] std::span<T> on_host(std::span<T> taken) noexcept {
  return taken;
}
template <class T>
[[nodiscard]] std::span<T> on_host(DeviceSpan<T> taken) noexcept {
  return {taken.data(), taken.size()};
}

/// Lives as long as the pass of one token.
struct TokenTakes {
  std::span<float> rotation;  ///< Cosine and sine of each pair of a head at this position.
  std::span<float> scores;    ///< [heads][positions]: of one layer, then of the next.
};

/// `positions`: those of the talk so far, with this token's.
template <class AnyTape>
[[nodiscard]] TokenTakes take_token(AnyTape& scratch, const Shape& s, std::size_t positions) {
  return {.rotation = on_host(scratch.template take<float>(s.key_head())),
          .scores = on_host(scratch.template take<float>(s.heads * positions))};
}

}  // namespace tapedeck::llama
