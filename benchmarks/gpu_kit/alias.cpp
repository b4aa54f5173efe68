// SPDX-License-Identifier: Apache-2.0
// Maps one page at two addresses, and finds out whether that is legal, and when a write through one
// of them is visible through the other.
#include <array>
#include <charconv>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "probe.hpp"
#include "report.hpp"
#include "rows.hpp"

namespace tapedeck::gpu_kit {
namespace {

constexpr unsigned kWords = 1U << 16;  // of each round
constexpr unsigned kThreads = 256;
constexpr unsigned kBlocks = kWords / kThreads;

struct Way {
  Between between;
  const char* name;
};
constexpr std::array kWays = {
    Way{Between::nothing, "nothing"},
    Way{Between::volatile_access, "volatile accesses"},
    Way{Between::fence, "__threadfence"},
    Way{Between::fence_and_volatile, "__threadfence and volatile accesses"},
    Way{Between::proxy_fence, "fence.proxy.alias"},
};

/// A page that is mapped twice.
struct Twice {
  explicit Twice(const Gpu& gpu)
      : handles(gpu, 1, gpu.device.info().granularity), first(gpu, handles), second(gpu, handles) {
    handles.create();
    for (Mapping* const mapping : {&first, &second}) {
      mapping->reserve();
      mapping->map();
      mapping->allow_access(Calls::one);
    }
  }

  Handles handles;
  Mapping first;
  Mapping second;
};

class Experiment {
 public:
  Experiment(Gpu& gpu, unsigned rounds)
      : gpu_(gpu),
        rounds_(rounds),
        twice_(gpu),
        seen_(gpu.device.allocate(2 * kWords * sizeof(unsigned))) {}
  ~Experiment() { gpu_.device.deallocate(seen_); }
  Experiment(const Experiment&) = delete;
  Experiment& operator=(const Experiment&) = delete;

  /// One kernel writes through one address, and the next one on the stream reads through the other.
  /// Returns how many words were stale.
  [[nodiscard]] unsigned across_kernels(bool swapped) {
    const CUdeviceptr to = (swapped ? twice_.second : twice_.first).at();
    const CUdeviceptr from = (swapped ? twice_.first : twice_.second).at();
    unsigned stale = 0;
    for (unsigned round = 0; round < rounds_; ++round) {
      write_.launch(kGrid, gpu_.stream.handle(), words(to), kWords, ++written_);
      read_.launch(kGrid, gpu_.stream.handle(), words(from), kWords, seen());
      stale += count_stale();
    }
    return stale;
  }

  /// A block writes through one address and reads through the other. Each thread reads its own
  /// word, or that of another thread, `distance` further.
  [[nodiscard]] unsigned within_kernel(Between between, unsigned distance) {
    unsigned stale = 0;
    for (unsigned round = 0; round < rounds_; ++round) {
      write_and_read_.launch(kGrid, gpu_.stream.handle(), words(twice_.first.at()),
                             words(twice_.second.at()), kWords, ++written_, distance,
                             static_cast<int>(between), seen());
      stale += count_stale();
    }
    return stale;
  }

 private:
  static constexpr Grid kGrid = {.blocks = kBlocks, .threads = kThreads};

  static unsigned* words(CUdeviceptr at) { return reinterpret_cast<unsigned*>(at); }
  [[nodiscard]] unsigned* seen() const { return reinterpret_cast<unsigned*>(seen_); }

  [[nodiscard]] unsigned count_stale() {
    gpu_.device.copy(reinterpret_cast<std::byte*>(got_.data()), seen_, kWords * sizeof(unsigned),
                     gpu_.stream.handle());
    gpu_.stream.synchronize();
    unsigned stale = 0;
    for (unsigned i = 0; i < kWords; ++i) stale += got_[i] == word_at(i, written_) ? 0U : 1U;
    return stale;
  }

  using Write = Kernel<unsigned*, unsigned, unsigned>;
  using Read = Kernel<const unsigned*, unsigned, unsigned*>;
  using WriteAndRead =
      Kernel<unsigned*, const unsigned*, unsigned, unsigned, unsigned, int, unsigned*>;

  Gpu& gpu_;
  unsigned rounds_;
  Twice twice_;
  std::byte* seen_;
  std::vector<unsigned> got_ = std::vector<unsigned>(kWords);
  unsigned written_ = 0;
  Write write_ = gpu_.module.find<Write>("write_words");
  Read read_ = gpu_.module.find<Read>("read_words");
  WriteAndRead write_and_read_ = gpu_.module.find<WriteAndRead>("write_and_read");
};

/// Prints and keeps the observations.
class Observations {
 public:
  explicit Observations(unsigned rounds) : words_(rounds * kWords) {}

  void add(const char* writer, const char* between, const char* reader, unsigned stale) {
    std::printf("through %-7s then %-36s by %-13s: %u of %u words stale\n", writer, between, reader,
                stale, words_);
    json_.push_back({{"writer", writer},
                     {"between", between},
                     {"reader", reader},
                     {"words", words_},
                     {"stale", stale}});
  }
  [[nodiscard]] const Json& json() const { return json_; }

 private:
  unsigned words_;
  Json json_ = Json::array();
};

/// Returns `nullopt` if the text is not a valid number of rounds.
std::optional<unsigned> rounds_of(const std::string& text) {
  unsigned rounds = 16;
  if (text.empty()) return rounds;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), rounds);
  const bool is_number = error == std::errc{} && end == text.data() + text.size();
  return is_number && rounds >= 1 && rounds <= 1000 ? std::optional(rounds) : std::nullopt;
}

}  // namespace

int probe_alias(Arguments arguments) {
  const std::optional<unsigned> rounds =
      rounds_of(compare::take_value(arguments, "--rounds=").value_or(""));
  if (!rounds) {
    std::fputs("--rounds takes a number from 1 to 1000\n", stderr);
    return 2;
  }
  Report report(arguments);
  if (!Report::accepts(arguments)) return 2;
  Gpu gpu(probe_kernels);
  report["device"] = gpu.device.info().name;
  try {
    static_cast<void>(Twice(gpu));
    report["legal"] = true;
  } catch (const Error& refused) {
    std::printf("the device refuses a second mapping: %s\n", refused.what());
    report["legal"] = false;
    report["why"] = refused.what();
    return report.write();
  }
  Experiment experiment(gpu, *rounds);
  Observations seen(*rounds);
  const unsigned there = experiment.across_kernels(false);
  const unsigned back = experiment.across_kernels(true);
  seen.add("first", "the kernel ends", "the next kernel", there);
  seen.add("second", "the kernel ends", "the next kernel", back);
  report["seen"] = seen.json();
  if (const int exit_code = report.write(); exit_code != 0) return exit_code;
  unsigned after_fence = 0;
  for (const Way& way : kWays) {
    for (const unsigned distance : {0U, kThreads / 2 + 1}) {
      const unsigned stale = experiment.within_kernel(way.between, distance);
      seen.add("first", way.name, distance == 0 ? "the same thread" : "another thread", stale);
      if (way.between == Between::proxy_fence) after_fence += stale;
    }
  }
  report["seen"] = seen.json();
  const int exit_code = report.write();
  // CUDA guarantees these two cases. The other cases are what this section is meant to find out.
  if (there + back + after_fence == 0) return exit_code;
  std::fputs("some words were stale across kernels, or after fence.proxy.alias\n", stderr);
  return 1;
}

}  // namespace tapedeck::gpu_kit
