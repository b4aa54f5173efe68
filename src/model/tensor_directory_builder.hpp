// SPDX-License-Identifier: Apache-2.0
/// @file
/// `TensorDirectoryBuilder`: builds a `TensorDirectory`, one header after the other.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <numeric>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/model/tensor_directory.hpp"

namespace tapedeck::internal {

class TensorDirectoryBuilder {
 public:
  /// Starts a file. Tensors that are added from now on belong to it.
  void begin_file(TensorFile file);
  [[nodiscard]] TensorFile& file() noexcept { return directory_.files_.back(); }
  /// The tensors of the current file, which may be modified. Valid until the next one is added.
  [[nodiscard]] std::span<TensorEntry> tensors() noexcept {
    return std::span(directory_.entries_).subspan(file_begin_);
  }

  /// Sets the expected number of tensors of the current file. A wrong number only costs time, or
  /// memory in proportion to the tensors that are added.
  void expect(std::uint64_t tensors) noexcept { expected_ = tensors; }

  /// Copies the name, and sets `file`.
  /// @param described_at  byte offset in the file's header, for error messages
  void add(TensorEntry entry, std::uint64_t described_at);

  /// What must be a multiple of a quantized type's block.
  enum class Blocks : std::uint8_t { of_rows, of_the_tensor };
  /// Computes the bytes of a tensor of the current file from its type and shape.
  /// @throws FormatError if elements do not fit in an int64, bytes in 64 bits, or a block is
  /// incomplete.
  [[nodiscard]] std::uint64_t bytes_of_tensor(const TensorEntry& entry, std::uint64_t described_at,
                                              Blocks blocks) const;
  /// Converts the offsets of the current file's tensors, which count from `data_begin`, into
  /// offsets from the start of the file, and sets `data_end`.
  /// @throws FormatError if there are gaps or overlaps, or if the tensors end beyond any file.
  void place_data();

  /// Calls `visit(tensor, described_at)` for the current file's tensors in the order of their data.
  template <class Visit>
  void in_order_of_data(Visit visit) {
    const std::span<const TensorEntry> all = tensors();
    std::vector<std::uint32_t> order(all.size());
    std::iota(order.begin(), order.end(), 0U);
    std::ranges::sort(order, {},
                      [&](std::uint32_t i) { return std::pair(all[i].offset, all[i].bytes); });
    for (const std::uint32_t i : order) visit(all[i], described_at_[file_begin_ + i]);
  }

  /// Returns the directory.
  /// @throws FormatError if two tensors have the same name, or if the sum of their bytes or
  /// elements does not fit in 64 bits.
  [[nodiscard]] TensorDirectory finish() &&;

  /// If the model has draft layers, assigns those after the text decoder to the draft tower.
  static void mark_draft_layers(TensorDirectory& directory, const ModelShape& shape) noexcept;

 private:
  [[nodiscard]] std::string_view kept_name(std::string_view name);
  void grow();
  void index_names();
  void check_sums() const;

  TensorDirectory directory_;
  std::shared_ptr<std::pmr::monotonic_buffer_resource> names_ =
      std::make_shared<std::pmr::monotonic_buffer_resource>(
          std::pmr::new_delete_resource());  // not the program's default, which may be a tape
  std::vector<std::uint64_t> described_at_;  // of each entry
  std::size_t file_begin_ = 0;
  std::uint64_t expected_ = 0;
};

}  // namespace tapedeck::internal
