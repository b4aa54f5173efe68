// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>
#include <vector>

#include "fuzz/checks.hpp"
#include "os/shared_folder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/telemetry/live/stat_publisher.hpp"
#include "tapedeck/telemetry/live/stat_reader.hpp"
#include "telemetry/live/stat_segment.hpp"

namespace {

using namespace tapedeck;
namespace segment = internal::segment;
using Bytes = std::vector<std::uint8_t>;

/// The bytes that a publisher wrote.
Bytes published_in(const std::filesystem::path& folder) {
  const Layout layout({.weights = 64_KiB, .scratch = 64_KiB, .history = 64_KiB});
  const StatPublisher publisher(layout, "fuzzed", folder);
  std::ifstream file(publisher.path(), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// That segment with some words and the length changed. The input is the length, followed by words,
/// each after its position. Random input would never contain the names of all figures.
Bytes mutated(Bytes segment, std::span<const std::uint8_t> input) {
  const auto take = [&input](auto number) {
    const std::size_t bytes = std::min(input.size(), sizeof number);
    std::memcpy(&number, input.data(), bytes);
    input = input.subspan(bytes);
    return number;
  };
  const auto length = take(std::uint16_t{0});
  while (!input.empty()) {
    const std::size_t at = take(std::uint16_t{0}) % (segment.size() / sizeof(std::uint64_t));
    const std::uint64_t word = take(std::uint64_t{0});
    std::memcpy(&segment[at * sizeof word], &word, sizeof word);
  }
  if (length != 0) segment.resize(length);
  return segment;
}

/// Every figure equals its word in the record. Wishes are stored two per word, so the last half may
/// be unused.
void check_figures(const Stat& stat, std::span<const std::uint64_t> record) {
  std::size_t at = segment::figures;
  segment::for_each_word(stat, [&](std::uint64_t word) {
    const std::uint64_t differs = record[at++] ^ word;
    fuzz::require(differs << 32 == 0 && (differs == 0 || word >> 32 == 0));
  });
}

void check(const StatReader& reader, std::span<const std::uint64_t> words) {
  fuzz::require(reader.published().process > 0);
  fuzz::require(segment::is_name(reader.published().name));
  fuzz::require(to_string(reader.state()) != nullptr);
  const std::optional<PublishedStat> now = reader.read();
  const auto record = words.subspan(segment::record_at());
  fuzz::require(now.has_value() == (record[segment::sequence] % 2 == 0));
  if (!now) return;
  fuzz::require(now->publishes == record[segment::sequence] / 2);
  fuzz::require(now->stat.gpus <= kMostGpus);
  check_figures(now->stat, record);
  fuzz::require(!now->stat.line().empty() && !now->stat.text().empty());
}

void read(const std::filesystem::path& path, const Bytes& segment) {
  std::filesystem::resize_file(path, 0);
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(segment.data()),
             static_cast<std::streamsize>(segment.size()));
  try {
    const StatReader reader(path);
    std::vector<std::uint64_t> words(segment.size() / sizeof(std::uint64_t));
    std::memcpy(words.data(), segment.data(), words.size() * sizeof words[0]);
    check(reader, words);
  } catch (const FormatError&) {
    // Refused, which is allowed.
  }
}

/// A file as publishers create it: accessible only to this user, and without other links.
std::filesystem::path file_in(const std::filesystem::path& folder) {
  std::filesystem::path path = folder / "tapedeck.1.1.fuzzed";
  std::ofstream(path).close();
  std::filesystem::permissions(path, std::filesystem::perms(0600));
  return path;
}

}  // namespace

// Uses the input once as it is, and once as changes to a valid segment.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  static const tests::SharedFolder folder;
  static const Bytes valid = published_in(folder.path());
  static const std::filesystem::path path = file_in(folder.path());
  read(path, {data, data + bytes});
  read(path, mutated(valid, {data, bytes}));
  return 0;
}
