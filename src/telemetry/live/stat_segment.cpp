// SPDX-License-Identifier: Apache-2.0
#include "telemetry/live/stat_segment.hpp"

#include <algorithm>

namespace tapedeck::internal::segment {
namespace {

template <class Fields>
std::string names_of(const char* what, const Fields& fields) {
  std::string text = what;
  for (const auto& field : fields) {
    if (field.member != nullptr) text += std::string(" ") + field.name;
  }
  return text + '\n';
}

}  // namespace

const std::string& table_text() {
  static const std::string text = names_of("layout", kLayoutFields) +
                                  names_of("tape", kTapeFields) +
                                  names_of("device", kDeviceFields) + "wishes " +
                                  std::to_string(kWishes) + " devices " + std::to_string(kMostGpus);
  return text;
}

std::size_t record_at() { return Header::table + (table_text().size() + kWord - 1) / kWord; }

std::size_t word_count() {
  return record_at() + Record::figures + figure_words(kMostGpus) +
         (1 + kMostGpus) * kTapeKinds.size() * kWishWords;
}

bool is_name(std::string_view name) noexcept {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= kMostName && std::all_of(name.begin(), name.end(), fits);
}

bool read_stat(std::span<const std::uint64_t> words, Stat& stat) noexcept {
  const std::uint64_t* next = words.data();
  const auto set = [&next](std::uint64_t& figure) { figure = *next++; };
  internal::for_each_word(stat, 0, set);  // sets the number of devices, which must be checked first
  if (stat.gpus > kMostGpus) return false;
  next = words.data();
  for_each_word(stat, set);
  return true;
}

}  // namespace tapedeck::internal::segment
