/// @file
/// What lies in a published file: words of 64 bits in the host's order. A header, which says what
/// it is and whose; the names of the figures; and the record, under a sequence lock: its first word
/// is odd while somebody writes the others.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/stat.hpp"
#include "tapedeck/layout/stat_fields.hpp"

namespace tapedeck::internal::segment {

inline constexpr std::uint64_t kMagic = 0x4B43'4544'4550'4154;  // "TAPEDECK" on most hosts
inline constexpr std::uint64_t kVersion = 1;  ///< Raised where a word gets another meaning.
inline constexpr std::size_t kNameWords = 8;
inline constexpr std::size_t kMostName = kNameWords * sizeof(std::uint64_t) - 1;
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

/// Where in their structs the figures lie that are not computed, in bytes and in the order of their
/// lists, so that a record is copied without asking the lists again.
struct Places {
  std::vector<std::size_t> layout;
  std::vector<std::size_t> tape;
  std::vector<std::size_t> device;
};
[[nodiscard]] const Places& places();

// These call `word_do(at, word)` for one word after the other, and give where the next would lie: a
// count that stays in a register, whatever is stored.

template <class Figures, class WordDo>
std::size_t for_each_word(const std::vector<std::size_t>& places, const Figures& of, std::size_t at,
                          const WordDo& word_do) {
  for (const std::size_t place : places) {
    std::uint64_t word = 0;
    std::memcpy(&word, reinterpret_cast<const std::byte*>(&of) + place, sizeof word);
    word_do(at++, word);
  }
  return at;
}

/// Two wishes in a word.
template <class WordDo>
std::size_t for_each_word(const TapeStat& tape, std::size_t at, const WordDo& word_do) {
  at = for_each_word(places().tape, tape, at, word_do);
  for (std::size_t i = 0; i < kWishes; i += 2) {
    const std::uint64_t second =
        i + 1 < kWishes ? static_cast<std::uint32_t>(tape.unmet[i + 1]) : 0;
    word_do(at++, second << 32 | static_cast<std::uint32_t>(tape.unmet[i]));
  }
  return at;
}

/// For each word of the record's figures.
template <class WordDo>
std::size_t for_each_word(const Stat& stat, const WordDo& word_do) {
  const auto tapes = [&word_do](const auto& of, std::size_t at) {
    at = for_each_word(of.weights, at, word_do);
    at = for_each_word(of.scratch, at, word_do);
    return for_each_word(of.history, at, word_do);
  };
  std::size_t at = tapes(stat, for_each_word(places().layout, stat, 0, word_do));
  for (std::size_t i = 0; i < stat.gpus; ++i) {
    at = tapes(stat.gpu[i], for_each_word(places().device, stat.gpu[i], at, word_do));
  }
  return at;
}

/// The other way. False where there are more devices than can be.
[[nodiscard]] bool read_stat(std::span<const std::uint64_t> words, Stat& stat) noexcept;

}  // namespace tapedeck::internal::segment
