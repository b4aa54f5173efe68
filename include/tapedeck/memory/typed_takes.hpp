// SPDX-License-Identifier: Apache-2.0
/// @file
/// The typed forms of `take`, shared by all kinds of tape.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/memory/tape_full.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The types that a span on a tape may hold: memory starts undefined, and no destructor runs.
template <class T>
concept TapeElement =
    std::is_trivially_default_constructible_v<T> && std::is_trivially_destructible_v<T>;

/// Adds takes that throw and takes that return spans to a tape that has
/// `void* try_take(bytes, align)`. `SpanOf<T>` is constructed from a pointer and a count; `Line` is
/// the tape's default alignment. Thread-safety: that of the tape.
template <class Self, template <class> class SpanOf, std::size_t Line>
class SpanTakes {
 public:
  /// Takes `bytes` with undefined contents at a multiple of `align`, a power of two.
  /// @throws TapeFull.
  [[nodiscard]] void* take(std::size_t bytes, std::size_t align = Line) {
    void* at = self().try_take(bytes, align);
    if (at == nullptr) [[unlikely]]
      throw_full(bytes);
    return at;
  }

  /// Takes `count` elements with undefined contents; `data() == nullptr` if the tape is full.
  /// `align` is in bytes, a power of two and at least `alignof(T)`.
  template <TapeElement T>
  [[nodiscard]] SpanOf<T> try_take(std::size_t count,
                                   std::size_t align = std::max(Line, alignof(T))) noexcept {
    void* at = self().try_take(bytes_of<T>(count), align);
    if (at == nullptr) [[unlikely]]
      return {};
    return {static_cast<T*>(at), count};
  }

  /// Like `try_take<T>`, but throws if the tape is full. @throws TapeFull.
  template <TapeElement T>
  [[nodiscard]] SpanOf<T> take(std::size_t count, std::size_t align = std::max(Line, alignof(T))) {
    return {static_cast<T*>(take(bytes_of<T>(count), align)), count};
  }

 protected:
  [[nodiscard]] Self& self() noexcept { return static_cast<Self&>(*this); }

  [[noreturn, gnu::cold, gnu::noinline]] void throw_full(std::size_t bytes) const {
    const auto& tape = static_cast<const Self&>(*this);
    TapeFull::raise(tape.name(), bytes, tape.used(), tape.total(), tape.floor());
  }

 private:
  // A product that overflows becomes a size that no tape has. This must be a branch: a conditional
  // move would make the take wait for its result.
  template <class T>
  [[nodiscard]] static constexpr std::size_t bytes_of(std::size_t count) noexcept {
    constexpr std::size_t most = std::numeric_limits<std::size_t>::max();
    if (__builtin_expect_with_probability(count > most / sizeof(T), 0, 1.0) != 0) return most;
    return count * sizeof(T);
  }
};

template <class T>
using HostSpan = std::span<T>;

/// Adds all typed takes to a tape that the host can write. Thread-safety: that of the tape.
template <class Self>
class TypedTakes : public SpanTakes<Self, HostSpan, kLine> {
 public:
  /// Constructs one object from the arguments, packed next to other small takes. Returns nullptr if
  /// the tape is full. The destructor never runs, so it must be trivial.
  template <class T, class... Args>
  requires std::is_trivially_destructible_v<T>
  [[nodiscard]] T* try_take_one(Args&&... args) noexcept(
      std::is_nothrow_constructible_v<T, Args...>) {
    void* at = this->self().try_take(sizeof(T), alignof(T));
    if (at == nullptr) [[unlikely]]
      return nullptr;
    return std::construct_at(static_cast<T*>(at), std::forward<Args>(args)...);
  }

  /// Like `try_take_one`, but throws if the tape is full.
  /// @throws TapeFull; whatever the constructor throws.
  template <class T, class... Args>
  requires std::is_trivially_destructible_v<T>
  [[nodiscard]] T& take_one(Args&&... args) {
    void* at = this->take(sizeof(T), alignof(T));
    return *std::construct_at(static_cast<T*>(at), std::forward<Args>(args)...);
  }
};

}  // namespace tapedeck::inline TAPEDECK_ABI
