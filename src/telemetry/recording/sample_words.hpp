// SPDX-License-Identifier: Apache-2.0
/// @file
/// A sample of a recording as words: the time, the values of the layout in the order in which they
/// are walked, and the peaks of each tape since the previous sample.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "layout/stat_walk.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/telemetry/recording/recording.hpp"

namespace tapedeck::internal::words {

/// Number of words in one sample of a layout with `gpus` devices.
[[nodiscard]] constexpr std::size_t count(std::size_t gpus) noexcept {
  return 1 + figure_words(gpus) + (1 + gpus) * kTapeKinds.size();
}

/// Calls `word_do(word)` for each word of a sample, to read it or to set it.
template <class Sample, class WordDo>
void for_each(Sample& sample, std::size_t gpus, WordDo&& word_do) noexcept {
  word_do(sample.at);
  for_each_word(sample.stat, gpus, word_do);
  for_each_tape(sample.peaks, gpus, [&](Place, TapeKind, auto& bytes) { word_do(bytes); });
}

/// The names of all words but the time: "layout.passes", "host.scratch.used", "gpu0.tokens", and
/// for a peak "host.scratch.most_in_use".
[[nodiscard]] inline std::vector<std::string> names(std::size_t gpus) {
  std::vector<std::string> all;
  constexpr RecordedSample kNone;
  for_each_list(kNone.stat, gpus,
                [&all](const FigureOwner& owner, const auto& fields, const auto&) {
                  for (const auto& field : fields) {
                    if (field.member != nullptr) all.push_back(to_string(owner) + "." + field.name);
                  }
                });
  for_each_tape(kNone.peaks, gpus, [&all](Place place, TapeKind tape, std::uint64_t) {
    all.push_back(to_string(FigureOwner{place, tape}) + ".most_in_use");
  });
  return all;
}

/// Packs a sample. @pre `words` has `count` words
inline void put(std::span<std::uint64_t> words, const RecordedSample& sample) noexcept {
  std::uint64_t* next = words.data();
  for_each(sample, sample.stat.gpus, [&next](std::uint64_t word) { *next++ = word; });
}

/// Unpacks a sample. @pre `words` has `count` words
[[nodiscard]] inline RecordedSample get(std::span<const std::uint64_t> words,
                                        std::size_t gpus) noexcept {
  RecordedSample sample;
  const std::uint64_t* next = words.data();
  for_each(sample, gpus, [&next](std::uint64_t& word) { word = *next++; });
  sample.stat.gpus = gpus;  // the words are not trusted
  return sample;
}

/// The `Stat` of the newest sample; all values are 0 if there is no sample.
[[nodiscard]] inline Stat newest_stat(const Recording& recording) noexcept {
  Stat stat;
  if (recording.samples() != 0) stat = recording.sample(recording.samples() - 1).stat;
  stat.gpus = recording.gpus;
  return stat;
}

}  // namespace tapedeck::internal::words
