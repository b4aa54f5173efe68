#include "telemetry/live/stat_segment.hpp"

#include <algorithm>
#include <cassert>

namespace tapedeck::internal::segment {
namespace {

template <class Figures>
void add_names(std::string& text, const char* what, std::span<const StatField<Figures>> fields) {
  text += what;
  for (const StatField<Figures>& field : fields) {
    if (field.set != nullptr) text += std::string(" ") + field.name;
  }
  text += '\n';
}

/// Found by putting a number there that nothing else has.
template <class Figures>
std::vector<std::size_t> places_in(std::span<const StatField<Figures>> fields) {
  constexpr std::uint64_t kMark = 0xFEDC'BA98'7654'3210;
  std::vector<std::size_t> places;
  places.reserve(fields.size());
  for (const StatField<Figures>& field : fields) {
    if (field.set == nullptr) continue;
    Figures figures;
    field.set(figures, kMark);
    std::size_t place = 0;
    std::uint64_t word = 0;
    while (word != kMark) {
      assert(place + sizeof word <= sizeof figures && "a figure that can be set is a member");
      std::memcpy(&word, reinterpret_cast<const std::byte*>(&figures) + place, sizeof word);
      place += sizeof word;
    }
    places.push_back(place - sizeof word);
  }
  return places;
}

std::size_t words_of_figures() {
  Stat stat;
  stat.gpus = kMostGpus;
  return for_each_word(stat, [](std::size_t, std::uint64_t) {});
}

/// Takes words off the front.
class Source {
 public:
  explicit Source(std::span<const std::uint64_t> words) : words_(words) {}

  template <class Figures>
  void fill(std::span<const StatField<Figures>> fields, Figures& figures) {
    for (const StatField<Figures>& field : fields) {
      if (field.set != nullptr) field.set(figures, next());
    }
  }

  template <class Figures>
  void fill_tapes(Figures& figures) {
    for (TapeStat* const tape : {&figures.weights, &figures.scratch, &figures.history}) {
      fill(tape_fields(), *tape);
      for (std::size_t i = 0; i < kWishes; i += 2) {
        const std::uint64_t word = next();
        tape->unmet[i] = static_cast<std::int32_t>(word);
        if (i + 1 < kWishes) tape->unmet[i + 1] = static_cast<std::int32_t>(word >> 32);
      }
    }
  }

 private:
  std::uint64_t next() noexcept { return words_[at_++]; }

  std::span<const std::uint64_t> words_;
  std::size_t at_ = 0;
};

}  // namespace

const std::string& table_text() {
  static const std::string text = [] {
    std::string names;
    add_names(names, "layout", layout_fields());
    add_names(names, "tape", tape_fields());
    add_names(names, "device", device_fields());
    return names + "wishes " + std::to_string(kWishes) + " devices " + std::to_string(kMostGpus);
  }();
  return text;
}

const Places& places() {
  static const Places all = {.layout = places_in(layout_fields()),
                             .tape = places_in(tape_fields()),
                             .device = places_in(device_fields())};
  return all;
}

std::size_t record_at() {
  constexpr std::size_t kWord = sizeof(std::uint64_t);
  return Header::table + (table_text().size() + kWord - 1) / kWord;
}

std::size_t word_count() { return record_at() + Record::figures + words_of_figures(); }

bool is_name(std::string_view name) noexcept {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= kMostName && std::all_of(name.begin(), name.end(), fits);
}

bool read_stat(std::span<const std::uint64_t> words, Stat& stat) noexcept {
  Source source(words);
  source.fill(layout_fields(), stat);
  if (stat.gpus > kMostGpus) return false;
  source.fill_tapes(stat);
  for (std::size_t i = 0; i < stat.gpus; ++i) {
    source.fill(device_fields(), stat.gpu[i]);
    source.fill_tapes(stat.gpu[i]);
  }
  return true;
}

}  // namespace tapedeck::internal::segment
