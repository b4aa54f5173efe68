/// @file
/// What the kinds of tape share behind their headers.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/checking.hpp"
#include "tapedeck/memory/tape.hpp"
#include "tapedeck/memory/tape_head.hpp"
#include "tapedeck/memory/tape_stat.hpp"

namespace tapedeck::internal {

#ifdef NDEBUG
inline constexpr bool kFillOnGiveBack = false;
#else
inline constexpr bool kFillOnGiveBack = true;
#endif
inline constexpr int kGivenBack = 0xDD;

inline std::uintptr_t address_of(const std::byte* at) noexcept {
  return reinterpret_cast<std::uintptr_t>(at);
}

inline void overwrite(std::uintptr_t from, std::uintptr_t to, int value) noexcept {
  if (from == to) return;  // an empty tape's range begins nowhere
  // Padding between takes is still poisoned.
  checking::unpoison(from, to - from);
  std::memset(reinterpret_cast<void*>(from), value, to - from);
}

/// What a tape has beside its head, where no take looks. The figures have one writer, and readers
/// may watch them.
template <class AnyBlock, class Options>
struct TapeCold {
  TapeCold(AnyBlock below, Options asked) : block(std::move(below)), options(std::move(asked)) {}

  AnyBlock block;
  Options options;
  std::size_t planned = 0;  // bytes in front of the block, that somebody else commits
  std::atomic<std::uint64_t> spilled{0};
  std::atomic<std::uint64_t> spilled_peak{0};
  std::atomic<std::uint64_t> spills{0};
  std::atomic<std::uint64_t> refused{0};
  std::atomic<std::uint64_t> grows{0};
  std::atomic<std::uint64_t> page_size{0};
  std::array<std::atomic<std::int32_t>, kWishes> unmet{};
};

/// Copies what a block obtained to where readers may look.
template <class Cold>
void note_pages(Cold& cold) noexcept {
  if constexpr (requires { cold.block.unmet(); }) {
    cold.page_size.store(cold.block.page_size(), std::memory_order_relaxed);
    for (const Unmet& one : cold.block.unmet()) {
      cold.unmet[static_cast<std::size_t>(one.wish)].store(one.error, std::memory_order_relaxed);
    }
  } else {
    cold.page_size.store(cold.block.page_bytes(), std::memory_order_relaxed);
  }
}

template <class Cold>
[[nodiscard]] const std::string& name_of(const Cold* cold) noexcept {
  static const std::string none = "none";
  return cold == nullptr ? none : cold->options.name;
}

template <class AnyBlock, class Cold>
[[nodiscard]] const AnyBlock& block_of(const Cold* cold) noexcept {
  static const AnyBlock none;
  return cold == nullptr ? none : cold->block;
}

template <std::size_t Line, class Cold>
[[nodiscard]] TapeStat stat_of(const TapeHead<Line>& head, const Cold* cold) noexcept {
  TapeStat stat = {.reserved = head.total(),
                   .committed = head.committed(),
                   .used = head.used(),
                   .peak = head.peak(),
                   .planned = head.floor(),
                   .clears = head.clears()};
  if (cold == nullptr) return stat;
  stat.spilled = cold->spilled.load(std::memory_order_relaxed);
  stat.spilled_peak = cold->spilled_peak.load(std::memory_order_relaxed);
  stat.spills = cold->spills.load(std::memory_order_relaxed);
  stat.refused = cold->refused.load(std::memory_order_relaxed);
  stat.grows = cold->grows.load(std::memory_order_relaxed);
  stat.page_size = cold->page_size.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i < kWishes; ++i) {
    stat.unmet[i] = cold->unmet[i].load(std::memory_order_relaxed);
  }
  return stat;
}

/// @throws InvalidArgument for a block that a tape cannot lie over.
[[noreturn]] void throw_no_whole_line(const std::string& tape, std::size_t block_bytes,
                                      std::size_t line);

}  // namespace tapedeck::internal

namespace tapedeck::inline TAPEDECK_ABI {

struct Tape::Cold : internal::TapeCold<Block, TapeOptions> {
  using TapeCold::TapeCold;

  std::vector<Tape> children;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
