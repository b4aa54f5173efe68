#include "telemetry/recording/sample_words.hpp"

#include "tapedeck/layout/stat_fields.hpp"

namespace tapedeck::internal::words {
namespace {

constexpr std::size_t kPeaks = 3;  // of a place

/// Writes what the lists say, one word after the other.
class Writer {
 public:
  explicit Writer(std::uint64_t* at) noexcept : at_(at) {}

  template <class Figures>
  void figures(std::span<const StatField<Figures>> fields, const Figures& from) noexcept {
    for (const StatField<Figures>& field : fields) word(field.of(from));
  }
  void word(std::uint64_t value) noexcept { *at_++ = value; }

 private:
  std::uint64_t* at_;
};

/// Reads them back. What is computed needs no place.
class Reader {
 public:
  explicit Reader(const std::uint64_t* at) noexcept : at_(at) {}

  template <class Figures>
  void figures(std::span<const StatField<Figures>> fields, Figures& to) noexcept {
    for (const StatField<Figures>& field : fields) {
      if (field.set != nullptr) field.set(to, *at_);
      ++at_;
    }
  }
  void word(std::uint64_t& value) noexcept { value = *at_++; }

 private:
  const std::uint64_t* at_;
};

/// The order of the words, whichever way they go.
template <class Way, class Sample>
void each(Way way, Sample& sample, std::size_t gpus) noexcept {
  auto& stat = sample.stat;
  const auto tapes = [&](auto& of) {
    way.figures(tape_fields(), of.weights);
    way.figures(tape_fields(), of.scratch);
    way.figures(tape_fields(), of.history);
  };
  way.word(sample.at);
  way.figures(layout_fields(), stat);
  tapes(stat);
  for (std::size_t i = 0; i < gpus; ++i) tapes(stat.gpu[i]);
  for (std::size_t i = 0; i < gpus; ++i) way.figures(device_fields(), stat.gpu[i]);
  for (std::size_t place = 0; place < 1 + gpus; ++place) {
    way.word(sample.peaks[place].weights);
    way.word(sample.peaks[place].scratch);
    way.word(sample.peaks[place].history);
  }
}

}  // namespace

std::size_t count(std::size_t gpus) noexcept {
  return 1 + layout_fields().size() + (1 + gpus) * (3 * tape_fields().size() + kPeaks) +
         gpus * device_fields().size();
}

void put(std::span<std::uint64_t> words, const RecordedSample& sample) noexcept {
  each(Writer(words.data()), sample, sample.stat.gpus);
}

RecordedSample get(std::span<const std::uint64_t> words, std::size_t gpus) noexcept {
  RecordedSample sample;
  each(Reader(words.data()), sample, gpus);
  sample.stat.gpus = gpus;
  return sample;
}

}  // namespace tapedeck::internal::words
