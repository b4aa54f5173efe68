// SPDX-License-Identifier: Apache-2.0
#include "weights/placement.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/thrown.hpp"
#include "model/tensor_directory_builder.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

using Kind = os::FileSystem::Kind;

struct WayCase {
  const char* what;
  double cached;  ///< The share of the file; negative means unknown.
  Way way;
  std::string why;
  Kind kind = Kind::disk;
  bool misaligned = false;
  bool fits = true;
};

TEST(ChooseWay, FollowsTheFacts) {
  const WayCase cases[] = {
      {"all cached", 1, Way::map, "100 % in the page cache, somefs"},
      {"most cached", 0.8, Way::map, "80 % in the page cache, somefs"},
      {"half cached", 0.5, Way::direct, "50 % in the page cache, somefs"},
      {"cold", 0, Way::direct, "0 % in the page cache, somefs"},
      {"over a network", 0, Way::read, "0 % in the page cache, somefs", Kind::network},
      {"in memory", 0, Way::map, "somefs: it is in memory already", Kind::memory},
      {"unknown", -1, Way::map,
       "somefs, and the kernel does not report how much is in the page cache"},
      {"too large", 0, Way::map, "a copy would not fit in memory (memory cgroup /a)", Kind::disk,
       false, false},
      {"misaligned", 1, Way::read, "it has misaligned tensors, which reading realigns",
       Kind::memory, true},
  };
  for (const WayCase& one : cases) {
    internal::WayFacts facts = {.bytes = 1000,
                                .file_system = {.kind = one.kind, .name = "somefs"},
                                .misaligned = one.misaligned,
                                .fits = one.fits,
                                .limit = "memory cgroup /a"};
    if (one.cached >= 0) facts.cached = static_cast<std::uint64_t>(1000 * one.cached);
    const internal::WayChoice choice = internal::choose_way(facts);
    EXPECT_EQ(choice.way, one.way) << one.what;
    EXPECT_EQ(choice.why, one.why) << one.what;
  }
}

struct RandomFiles {
  TensorDirectory directory;
  std::vector<Way> ways;
};

// Tensors with gaps between them, with any alignment, in any order, some empty.
RandomFiles random_files(std::mt19937_64& random) {
  RandomFiles made;
  internal::TensorDirectoryBuilder builder;
  int name = 0;
  for (std::uint64_t files = 1 + random() % 4; files != 0; --files) {
    std::vector<TensorEntry> entries;
    std::uint64_t at = random() % 100;
    for (std::uint64_t tensors = random() % 12; tensors != 0; --tensors) {
      const std::uint64_t elements = random() % 8 == 0 ? 0 : random() % 20'000;
      const DType type = random() % 2 == 0 ? DType::f32 : DType::u8;
      at += random() % 3 == 0 ? random() % 9000 : 0;
      if (random() % 2 == 0) at = (at + 63) / 64 * 64;
      entries.push_back(
          {.name = {}, .dtype = type, .offset = at, .bytes = *bytes_of(type, elements)});
      at += entries.back().bytes;
    }
    std::shuffle(entries.begin(), entries.end(), random);
    builder.begin_file({.path = "f", .size = at + random() % 50 + 1});
    for (TensorEntry& entry : entries) {
      const std::string text = "t" + std::to_string(name++);
      entry.name = text;
      builder.add(entry, 0);
    }
    constexpr Way kEach[] = {Way::map, Way::read, Way::direct};
    made.ways.push_back(kEach[random() % 3]);
  }
  made.directory = std::move(builder).finish();
  return made;
}

std::unique_ptr<internal::WeightsState> state_of(const RandomFiles& files,
                                                 const internal::Placement& placement) {
  auto state = std::make_unique<internal::WeightsState>();
  state->directory = files.directory;
  state->files.resize(files.ways.size());
  state->segments = placement.segments;
  state->range = Block::reserve(std::max<std::uint64_t>(placement.bytes, os::page_size()));
  state->number_chunks();
  return state;
}

void expect_segments_apart(const RandomFiles& files, const internal::Placement& placement) {
  const std::uint64_t page = os::page_size();
  std::uint64_t end = 0;
  for (const internal::WeightsSegment& segment : placement.segments) {
    // A direct read also fills the rest of the pages of a segment.
    const bool direct = segment.way == Way::direct && internal::is_page_congruent(segment);
    EXPECT_GE(direct ? segment.at / page * page : segment.at, end);
    end = segment.at + segment.bytes;
    if (direct) end = (end + page - 1) / page * page;
    const internal::Placement::Share& share = placement.shares[segment.file];
    EXPECT_GE(segment.at, share.at);
    EXPECT_LE(end, share.at + share.bytes);
    EXPECT_EQ(segment.way, files.ways[segment.file]);
  }
  EXPECT_LE(end, placement.bytes);
}

TEST(PlaceFiles, PutsEveryTensorSomewhereOfItsOwn) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    const RandomFiles files = random_files(random);
    const internal::Placement placement = internal::place_files(files.directory, files.ways, 2_MiB);
    expect_segments_apart(files, placement);
    const std::unique_ptr<internal::WeightsState> owned = state_of(files, placement);
    const internal::WeightsState& state = *owned;
    for (std::size_t i = 0; i < files.directory.entries().size(); ++i) {
      const TensorEntry& entry = files.directory.entries()[i];
      const internal::WeightsSegment* segment = state.segment_of(entry);
      ASSERT_EQ(segment == nullptr, entry.bytes == 0);
      if (segment == nullptr) continue;
      EXPECT_EQ(segment->file, entry.file);
      EXPECT_GE(entry.offset, segment->begin);
      EXPECT_LE(entry.offset + entry.bytes, segment->end());
      EXPECT_TRUE(files.ways[entry.file] == Way::map || state.view(i).aligned);
    }
  }
}

TEST(PlaceFiles, CutsAllBytesIntoChunksOnce) {
  internal::TensorDirectoryBuilder builder;
  builder.begin_file({.path = "f", .size = 50'000'000});
  builder.add({.name = "a", .dtype = DType::u8, .offset = 5'000'000, .bytes = 30'000'000}, 0);
  builder.begin_file({.path = "g", .size = 10});
  builder.add({.name = "b", .dtype = DType::u8, .offset = 3, .bytes = 7}, 0);
  RandomFiles files = {.directory = std::move(builder).finish(), .ways = {Way::read, Way::map}};
  const internal::Placement placement = internal::place_files(files.directory, files.ways, 2_MiB);
  const std::unique_ptr<internal::WeightsState> owned = state_of(files, placement);
  const internal::WeightsState& state = *owned;
  std::uint64_t at = 5'000'000;
  for (std::size_t i = 0; i + 1 < state.chunks(); ++i) {
    const internal::WeightsChunk chunk = state.chunk(i);
    EXPECT_EQ(chunk.begin, at);
    at += chunk.memory.size();
    EXPECT_TRUE(at == 35'000'000U || at % internal::kWeightsChunk == 0);
  }
  EXPECT_EQ(at, 35'000'000U);
  EXPECT_EQ(state.chunk(state.chunks() - 1).memory.size(), 10U);  // mapped as a whole file
  EXPECT_EQ(state.chunks_of(0).end, state.chunks() - 1);
}

TEST(PlaceFiles, RefusesMoreThanCanBeAddressed) {
  internal::TensorDirectoryBuilder builder;
  for (int i = 0; i < 3; ++i) builder.begin_file({.path = "f", .size = std::uint64_t{1} << 62});
  const TensorDirectory directory = std::move(builder).finish();
  const std::vector<Way> ways(3, Way::map);
  const auto error = thrown<InvalidArgument>(
      [&] { static_cast<void>(internal::place_files(directory, ways, 2_MiB)); });
  EXPECT_EQ(error.argument(), "path");
  EXPECT_EQ(error.value(), std::nullopt);  // a path is no number
}

}  // namespace
}  // namespace tapedeck::tests
