/// @file
/// A sample of a recording as words: the time; what the lists say of the layout, of its tapes and
/// of its devices, in order; and the peaks of each tape since the sample before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/telemetry/recording/recording.hpp"

namespace tapedeck::internal::words {

/// Of one sample, of a layout with so many devices.
[[nodiscard]] std::size_t count(std::size_t gpus) noexcept;

/// @pre as many words as `count`; the sample's `stat.gpus` says for how many devices, in both.
void put(std::span<std::uint64_t> words, const RecordedSample& sample) noexcept;
[[nodiscard]] RecordedSample get(std::span<const std::uint64_t> words, std::size_t gpus) noexcept;

}  // namespace tapedeck::internal::words
