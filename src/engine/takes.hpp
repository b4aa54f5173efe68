/// @file
/// What one token takes from scratch above the plan's decode buffers, written once: the decoder
/// runs this list on the layout's tape, and the same list run on a `TapeMeasure` gives its size,
/// which is then exactly enough.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "engine/shape.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/memory/typed_takes.hpp"

namespace tapedeck::inline TAPEDECK_ABI::engine {

/// Stands in for a tape and only counts.
class TapeMeasure {
 public:
  template <TapeElement T>
  std::span<T> take(std::size_t count) noexcept {
    add(checked_mul<std::size_t>(count, sizeof(T)));
    return {};
  }
  /// A take of so many bytes: whole lines, as on a tape.
  void add(std::optional<std::size_t> bytes) noexcept {
    if (bytes) bytes = checked_round_up(*bytes, kLine);
    bytes_ = bytes_ && bytes ? checked_add(*bytes_, *bytes) : std::nullopt;
  }
  /// Nothing where the sum does not fit.
  [[nodiscard]] std::optional<std::size_t> bytes() const noexcept { return bytes_; }

 private:
  std::optional<std::size_t> bytes_ = 0;
};

/// Lives as long as the pass of one token.
struct TokenTakes {
  std::span<float> rotation;  ///< Cosine and sine of each pair of a head at this position.
  std::span<float> scores;    ///< [heads][positions]: of one layer, then of the next.
};

/// `positions`: those of the talk so far, with this token's.
template <class AnyTape>
[[nodiscard]] TokenTakes take_token(AnyTape& scratch, const Shape& s, std::size_t positions) {
  return {.rotation = scratch.template take<float>(s.key_head()),
          .scores = scratch.template take<float>(s.heads * positions)};
}

}  // namespace tapedeck::inline TAPEDECK_ABI::engine
