#include "model/tensor_directory_builder.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>
#include <string>
#include <utility>

#include "base/printable.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal {

void TensorDirectoryBuilder::begin_file(TensorFile file) {
  directory_.files_.push_back(std::move(file));
  file_begin_ = directory_.entries_.size();
  expected_ = 0;
}

void TensorDirectoryBuilder::add(TensorEntry entry, std::uint64_t described_at) {
  if (directory_.entries_.size() == directory_.entries_.capacity()) grow();
  entry.name = keep(entry.name);
  entry.file = static_cast<std::uint32_t>(directory_.files_.size() - 1);
  directory_.entries_.push_back(entry);
  described_at_.push_back(described_at);
}

// By what is expected, as far as what has come makes it credible; by half as much more otherwise.
void TensorDirectoryBuilder::grow() {
  constexpr std::size_t kAtFirst = 64;
  constexpr std::uint64_t kCredible = 4;
  const std::uint64_t have = directory_.entries_.size();
  if (have >= std::numeric_limits<std::uint32_t>::max()) {
    throw FormatError(file().path.string(), 0, "it has more tensors than can be counted");
  }
  std::uint64_t want = std::min(have * kCredible, file_begin_ + expected_);
  want = std::max(want, have + std::max<std::uint64_t>(have / 2, kAtFirst));
  directory_.entries_.reserve(static_cast<std::size_t>(want));
  described_at_.reserve(static_cast<std::size_t>(want));
}

std::string_view TensorDirectoryBuilder::keep(std::string_view name) {
  constexpr std::size_t kLeast = 1024;
  constexpr std::size_t kMost = std::size_t{64} << 10;
  if (name.size() > names_left_.size()) {
    const std::size_t room = std::max(name.size(), std::clamp(names_bytes_ / 4, kLeast, kMost));
    names_.push_back(std::make_unique<char[]>(room));
    names_left_ = {names_.back().get(), room};
    names_bytes_ += room;
  }
  std::copy(name.begin(), name.end(), names_left_.begin());
  const std::string_view kept(names_left_.data(), name.size());
  names_left_ = names_left_.subspan(name.size());
  return kept;
}

TensorDirectory TensorDirectoryBuilder::finish() && {
  index_names();
  check_sums();
  for (TensorEntry& entry : directory_.entries_) {
    entry.aligned = entry.offset % natural_alignment(entry.dtype) == 0;
  }
  directory_.names_ =
      std::make_shared<const std::vector<std::unique_ptr<char[]>>>(std::move(names_));
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

// Each tensor fits in 64 bits, and so do those of a file; those of many files may not.
void TensorDirectoryBuilder::check_sums() const {
  std::optional<std::uint64_t> bytes = 0;
  std::optional<std::uint64_t> elements = 0;
  for (const TensorEntry& entry : directory_.entries_) {
    if (bytes) bytes = checked_add(*bytes, entry.bytes);
    if (elements) elements = checked_add(*elements, entry.elements());
  }
  if (bytes && elements) return;
  throw FormatError(directory_.files_.back().path.string(), 0,
                    "all tensors together have more elements or bytes than can be counted");
}

void TensorDirectoryBuilder::index_names() {
  const std::vector<TensorEntry>& entries = directory_.entries_;
  std::vector<std::uint32_t>& order = directory_.by_name_;
  order.resize(entries.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    const int names = entries[a].name.compare(entries[b].name);
    return names != 0 ? names < 0 : a < b;
  });
  const auto twin = std::adjacent_find(
      order.begin(), order.end(),
      [&](std::uint32_t a, std::uint32_t b) { return entries[a].name == entries[b].name; });
  if (twin == order.end()) return;
  const TensorEntry& second = entries[*(twin + 1)];
  throw FormatError(directory_.files_[second.file].path.string(), described_at_[*(twin + 1)],
                    "a second tensor called " + printable(second.name),
                    "nobody can tell which of the two is meant: convert the model again");
}

}  // namespace tapedeck::internal
