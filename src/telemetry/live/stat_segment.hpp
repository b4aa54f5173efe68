/// @file
/// What lies in a published file: words of 64 bits in the host's order. A header, which says what
/// it is and whose; the names of the figures; and the record, under a sequence lock: its first word
/// is odd while the others are written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "layout/stat_walk.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::segment {

inline constexpr std::uint64_t kMagic = 0x4B43'4544'4550'4154;  // "TAPEDECK" on most hosts
inline constexpr std::uint64_t kVersion = 2;  ///< Raised where a word gets another meaning.
inline constexpr std::size_t kWord = sizeof(std::uint64_t);
inline constexpr std::size_t kNameWords = 8;
inline constexpr std::size_t kMostName = kNameWords * kWord - 1;
inline constexpr std::size_t kMostBytes = 65'536;

/// Places of the header.
enum Header : std::size_t {
  magic,
  version,
  words,  ///< Of the file.
  process,
  start,          ///< Of the process, in ticks since the host's.
  pid_namespace,  ///< That the process's number is one of.
  ended,          ///< 1 since the publisher took its layout back.
  table_bytes,    ///< Of the names.
  name,           ///< Of the layout, filled up with zeros.
  table = name + kNameWords,
};

/// Places of the record.
enum Record : std::size_t { sequence, published_at, figures };

/// What a figure in the record is, for a reader with another list.
[[nodiscard]] const std::string& table_text();

[[nodiscard]] std::size_t record_at();  ///< In words.
[[nodiscard]] std::size_t word_count();

[[nodiscard]] bool is_name(std::string_view name) noexcept;

/// Two wishes of a tape in a word.
inline constexpr std::size_t kWishWords = (kWishes + 1) / 2;

/// Calls `word_do(word)` for each word of the record behind `figures`, to read it or to set it: the
/// figures, then what the tapes' wishes came to.
template <class AnyStat, class WordDo>
void for_each_word(AnyStat& stat, WordDo&& word_do) {
  internal::for_each_word(stat, stat.gpus, word_do);
  for_each_tape(stat, [&](Place, TapeKind, auto& tape) {
    for (std::size_t i = 0; i < kWishes; i += 2) {
      const bool has_second = i + 1 < kWishes;
      const auto second = has_second ? static_cast<std::uint32_t>(tape.unmet[i + 1]) : 0U;
      std::uint64_t word = std::uint64_t{second} << 32 | static_cast<std::uint32_t>(tape.unmet[i]);
      word_do(word);
      if constexpr (!std::is_const_v<AnyStat>) {
        tape.unmet[i] = static_cast<std::int32_t>(word);
        if (has_second) tape.unmet[i + 1] = static_cast<std::int32_t>(word >> 32);
      }
    }
  });
}

/// Sets them all. False where there are more devices than can be.
[[nodiscard]] bool read_stat(std::span<const std::uint64_t> words, Stat& stat) noexcept;

}  // namespace tapedeck::internal::segment
