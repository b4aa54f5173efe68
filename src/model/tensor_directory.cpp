// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/model/tensor_directory.hpp"

#include <algorithm>

#include "base/printable.hpp"
#include "model/unwritten.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

std::uint64_t TensorEntry::elements() const noexcept {
  std::uint64_t product = 1;
  for (const std::uint64_t dimension : shape()) product *= dimension;
  return product;
}

const TensorEntry* TensorDirectory::find(std::string_view name) const noexcept {
  const auto at = std::ranges::lower_bound(
      by_name_, name, {}, [this](std::uint32_t entry) { return entries_[entry].name; });
  if (at == by_name_.end() || entries_[*at].name != name) return nullptr;
  return &entries_[*at];
}

std::uint64_t TensorDirectory::bytes() const noexcept {
  std::uint64_t sum = 0;
  for (const TensorEntry& entry : entries_) sum += entry.bytes;
  return sum;
}

std::uint64_t TensorDirectory::elements() const noexcept {
  std::uint64_t sum = 0;
  for (const TensorEntry& entry : entries_) sum += entry.elements();
  return sum;
}

bool TensorDirectory::truncated() const noexcept {
  return std::ranges::any_of(files_, &TensorFile::truncated);
}

}  // namespace tapedeck::inline TAPEDECK_ABI

namespace tapedeck::internal {

std::vector<std::string> warnings_of_unwritten(const TensorDirectory& tensors) {
  std::vector<std::string> warnings;
  for (const TensorFile& file : tensors.files()) {
    if (file.unwritten == 0) continue;
    warnings.push_back(
        printable(file.path.filename().string()) + " has holes: " + to_iec(file.unwritten) +
        " of its tensors were never written and read as zeros; if it was downloaded, that is "
        "incomplete");
  }
  return warnings;
}

}  // namespace tapedeck::internal
