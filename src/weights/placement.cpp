// SPDX-License-Identifier: Apache-2.0
#include "weights/placement.hpp"

#include <algorithm>
#include <cassert>
#include <limits>

#include "base/amounts.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/typed_takes.hpp"

namespace tapedeck::internal {
namespace {

// Mapping is faster if at least this share of a file is in the page cache, although the rest then
// arrives more slowly. Below it, copying the cached part and reading the rest past the cache wins.
// benchmarks/weights_bench.cpp measured 7 GB/s for the copy, 3.7 for direct reads and 1.0 to 1.7
// for mapping.
constexpr double kHot = 0.75;

/// Places runs of tensors, each laid out in memory as it is in the file.
class RunPlacer {
 public:
  RunPlacer(Placement& out, std::uint32_t file, Way way) : out_(out), file_(file), way_(way) {}

  void add_tensor(const TensorEntry& tensor) {
    if (tensor.bytes == 0) return;
    if (!run_ || !keeps_aligned(tensor)) begin_run(tensor);
    run_->bytes = std::max(run_->end(), tensor.offset + tensor.bytes) - run_->begin;
  }

  void end_run() {
    if (!run_) return;
    out_.segments.push_back(*run_);
    out_.bytes = run_->at + run_->bytes;
    // A direct read fills whole pages.
    if (is_page_congruent(*run_)) out_.bytes = round_up(out_.bytes, os::page_size());
    run_.reset();
  }

 private:
  [[nodiscard]] bool keeps_aligned(const TensorEntry& tensor) const noexcept {
    return (run_->at + (tensor.offset - run_->begin)) % natural_alignment(tensor.dtype) == 0;
  }

  void begin_run(const TensorEntry& tensor) {
    end_run();
    const std::uint64_t page = os::page_size();
    const bool natural = tensor.offset % natural_alignment(tensor.dtype) == 0;
    const std::uint64_t at =
        natural ? round_up(out_.bytes, page) + tensor.offset % page : round_up(out_.bytes, kLine);
    run_ = {.file = file_, .way = way_, .begin = tensor.offset, .bytes = 0, .at = at};
  }

  Placement& out_;
  std::uint32_t file_;
  Way way_;
  std::optional<WeightsSegment> run_;
};

/// The tensors of each file, by offset.
std::vector<std::vector<std::uint32_t>> tensors_by_file(const TensorDirectory& directory) {
  std::vector<std::vector<std::uint32_t>> by_file(directory.files().size());
  const std::span<const TensorEntry> entries = directory.entries();
  for (std::uint32_t i = 0; i < entries.size(); ++i) by_file[entries[i].file].push_back(i);
  const auto offset_of = [&](std::uint32_t i) { return entries[i].offset; };
  for (std::vector<std::uint32_t>& tensors : by_file) {
    if (!std::ranges::is_sorted(tensors, {}, offset_of)) std::ranges::sort(tensors, {}, offset_of);
  }
  return by_file;
}

// The margin covers what alignment adds: a page for each of at most 2^32 tensors.
void check_addressable(const TensorDirectory& directory) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max() / 8;
  std::optional<std::uint64_t> sum = 0;
  for (const TensorFile& file : directory.files()) sum = known_sum(sum, file.size);
  if (sum && *sum <= kMost) return;
  throw InvalidArgument({.argument = "path"},
                        "the files of this model have more bytes than a process can address (" +
                            (sum ? to_iec(*sum) : "more than 2^64") + ")");
}

}  // namespace

WayChoice choose_way(const WayFacts& facts) {
  const std::string& on = facts.file_system.name;
  if (facts.misaligned) return {Way::read, "it has misaligned tensors, which reading realigns"};
  if (facts.file_system.kind == os::FileSystem::Kind::memory) {
    return {Way::map, on + ": it is in memory already"};
  }
  if (!facts.fits) return {Way::map, "a copy would not fit in memory (" + facts.limit + ")"};
  if (!facts.cached) {
    return {Way::map, on + ", and the kernel does not report how much is in the page cache"};
  }
  const std::string share = percent_text(*facts.cached, facts.bytes) + " in the page cache, " + on;
  const bool hot = static_cast<double>(*facts.cached) >= kHot * static_cast<double>(facts.bytes);
  if (hot) return {Way::map, share};
  if (facts.file_system.kind == os::FileSystem::Kind::network) return {Way::read, share};
  return {Way::direct, share};
}

Placement place_files(const TensorDirectory& directory, std::span<const Way> ways,
                      std::size_t huge_page, bool all_huge) {
  assert(ways.size() == directory.files().size());
  check_addressable(directory);
  const std::vector<std::vector<std::uint32_t>> by_file = tensors_by_file(directory);
  const std::uint64_t page = os::page_size();
  Placement out;
  for (std::uint32_t file = 0; file < ways.size(); ++file) {
    const TensorFile& of = directory.files()[file];
    const bool mapped = ways[file] == Way::map;
    const bool large = huge_page != 0 && (of.size >= huge_page || (all_huge && !mapped));
    const std::uint64_t granule = large ? huge_page : page;
    out.bytes = round_up(out.bytes, granule);
    const std::uint64_t at = out.bytes;
    if (mapped) {
      out.segments.push_back({.file = file, .way = Way::map, .bytes = of.size, .at = at});
      out.bytes += of.size;
    } else {
      RunPlacer runs(out, file, ways[file]);
      for (const std::uint32_t tensor : by_file[file]) runs.add_tensor(directory.entries()[tensor]);
      runs.end_run();
    }
    out.bytes = round_up(out.bytes, granule);
    out.shares.push_back({.at = at, .bytes = out.bytes - at});
  }
  return out;
}

bool is_page_congruent(const WeightsSegment& segment) noexcept {
  const std::uint64_t page = os::page_size();
  return segment.at % page == segment.begin % page;
}

}  // namespace tapedeck::internal
