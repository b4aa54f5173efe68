// SPDX-License-Identifier: Apache-2.0
#include "model/tensor_directory_builder.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>
#include <string>
#include <utility>

#include "base/amounts.hpp"
#include "base/checked_sizes.hpp"
#include "model/file_errors.hpp"

namespace tapedeck::internal {
namespace {

// Limits files and elements of a tensor: the formats' own programs count in int64.
constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();

}  // namespace

void TensorDirectoryBuilder::begin_file(TensorFile file) {
  directory_.files_.push_back(std::move(file));
  file_begin_ = directory_.entries_.size();
  expected_ = 0;
}

void TensorDirectoryBuilder::add(TensorEntry entry, std::uint64_t described_at) {
  if (directory_.entries_.size() == directory_.entries_.capacity()) grow();
  entry.name = kept_name(entry.name);
  entry.file = static_cast<std::uint32_t>(directory_.files_.size() - 1);
  directory_.entries_.push_back(entry);
  described_at_.push_back(described_at);
}

// Grows to the expected size, but at most by kCredible, as the header may be wrong; else by half.
void TensorDirectoryBuilder::grow() {
  constexpr std::size_t kAtFirst = 64;
  constexpr std::uint64_t kCredible = 4;
  const std::uint64_t have = directory_.entries_.size();
  if (have >= std::numeric_limits<std::uint32_t>::max()) {
    throw FormatError({.path = file().path.string(), .fault = FormatFault::out_of_range},
                      "the file has more tensors than can be counted");
  }
  std::uint64_t want = std::min(have * kCredible, file_begin_ + expected_);
  want = std::max(want, have + std::max<std::uint64_t>(have / 2, kAtFirst));
  directory_.entries_.reserve(static_cast<std::size_t>(want));
  described_at_.reserve(static_cast<std::size_t>(want));
}

std::string_view TensorDirectoryBuilder::kept_name(std::string_view name) {
  char* const at = static_cast<char*>(names_->allocate(name.size(), 1));
  std::copy(name.begin(), name.end(), at);
  return {at, name.size()};
}

TensorDirectory TensorDirectoryBuilder::finish() && {
  index_names();
  check_sums();
  for (TensorEntry& entry : directory_.entries_) {
    entry.aligned = entry.offset % natural_alignment(entry.dtype) == 0;
  }
  directory_.names_ = std::move(names_);
  return std::move(directory_);
}

void TensorDirectoryBuilder::mark_draft_layers(TensorDirectory& directory,
                                               const ModelShape& shape) noexcept {
  if (shape.draft_layers == 0) return;
  for (TensorEntry& entry : directory.entries_) {
    const auto layer = entry.id.text_layer();
    if (!layer || *layer < shape.layers.size()) continue;
    entry.id.tower = Tower::draft;
    entry.id.layer = *layer - static_cast<std::uint32_t>(shape.layers.size());
  }
}

std::uint64_t TensorDirectoryBuilder::bytes_of_tensor(const TensorEntry& entry,
                                                      std::uint64_t described_at,
                                                      Blocks blocks) const {
  const auto throw_size_error = [&](FormatFault fault, const std::string& what) {
    throw_field_error(
        {directory_.files_.back().path.string(), described_at, std::string(entry.name), fault},
        what);
  };
  CheckedSize elements = 1;
  for (const std::uint64_t dimension : entry.shape()) {
    elements = elements * dimension;
    // Also checks each dimension alone, because another one may be 0.
    if (dimension > kMost || elements.value().value_or(kMost + 1) > kMost) {
      throw_size_error(FormatFault::out_of_range, "has more elements than can be counted");
    }
  }
  const std::uint64_t row = entry.rank == 0 ? 1 : entry.dimensions[entry.rank - 1U];
  const std::uint64_t run = blocks == Blocks::of_rows ? row : *elements.value();
  if (run % traits(entry.dtype).block_elements != 0) {
    throw_size_error(
        FormatFault::contradictory,
        "has " + count_of(run, "element") + (blocks == Blocks::of_rows ? " in a row" : "") +
            ", which is not a whole number of blocks of " + std::string(to_string(entry.dtype)));
  }
  const std::optional<std::uint64_t> bytes = bytes_of(entry.dtype, *elements.value());
  if (!bytes) throw_size_error(FormatFault::out_of_range, "has more bytes than can be counted");
  return *bytes;
}

void TensorDirectoryBuilder::place_data() {
  TensorFile& of = file();
  std::uint64_t next = 0;
  std::uint64_t end = 0;
  in_order_of_data([&](const TensorEntry& tensor, std::uint64_t described_at) {
    const auto throw_place_error = [&](FormatFault fault, const std::string& what) {
      throw_field_error({of.path.string(), described_at, std::string(tensor.name), fault}, what);
    };
    if (tensor.offset != next) {
      throw_place_error(FormatFault::contradictory,
                        "begins at byte " + std::to_string(tensor.offset) +
                            " of the data instead of byte " + std::to_string(next) +
                            ", where the previous tensor ends");
    }
    const auto after = checked_add(tensor.offset, tensor.bytes, of.data_begin, of.alignment);
    if (!after || *after > kMost) {
      throw_place_error(FormatFault::out_of_range, "ends beyond the size of any file");
    }
    end = tensor.offset + tensor.bytes;
    next = round_up(end, of.alignment);
  });
  of.data_end = of.data_begin + end;
  for (TensorEntry& tensor : tensors()) tensor.offset += of.data_begin;
}

// Each tensor and each file fits in 64 bits, but the sum over many files may not.
void TensorDirectoryBuilder::check_sums() const {
  CheckedSize bytes = 0;
  CheckedSize elements = 0;
  for (const TensorEntry& entry : directory_.entries_) {
    bytes = bytes + entry.bytes;
    elements = elements + entry.elements();
  }
  if (bytes.value() && elements.value()) return;
  throw FormatError(
      {.path = directory_.files_.back().path.string(), .fault = FormatFault::out_of_range},
      "all tensors together have more elements or bytes than can be counted");
}

void TensorDirectoryBuilder::index_names() {
  const std::vector<TensorEntry>& entries = directory_.entries_;
  std::vector<std::uint32_t>& order = directory_.by_name_;
  order.resize(entries.size());
  std::iota(order.begin(), order.end(), 0U);
  const auto name_of = [&](std::uint32_t i) { return entries[i].name; };
  std::ranges::sort(order, {}, [&](std::uint32_t i) { return std::pair(name_of(i), i); });
  const auto twin = std::ranges::adjacent_find(order, {}, name_of);
  if (twin == order.end()) return;
  const TensorEntry& second = entries[*(twin + 1)];
  throw_field_error({directory_.files_[second.file].path.string(), described_at_[*(twin + 1)],
                     std::string(second.name), FormatFault::contradictory},
                    "is the name of two tensors",
                    "it is ambiguous which of the two is meant: convert the model again");
}

}  // namespace tapedeck::internal
