/// @file
/// Makes a `TensorDirectory`, header by header.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <span>
#include <string_view>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/model/tensor_directory.hpp"

namespace tapedeck::internal {

class TensorDirectoryBuilder {
 public:
  /// What is added from now on lies in this file.
  void begin_file(TensorFile file);
  [[nodiscard]] TensorFile& file() noexcept { return directory_.files_.back(); }
  /// The tensors of the current file. They may still be changed, until the next one is added.
  [[nodiscard]] std::span<TensorEntry> tensors() noexcept {
    return std::span(directory_.entries_).subspan(file_begin_);
  }

  /// How many tensors the current file is thought to have. A wrong figure costs memory in
  /// proportion to what was added, or time; nothing else.
  void expect(std::uint64_t tensors) noexcept { expected_ = tensors; }

  /// Copies the name; `file` is set here.
  /// @param described_at  the byte of the file's header that an error is to name.
  void add(TensorEntry entry, std::uint64_t described_at);

  /// Calls `visit(tensor, described_at)` for the current file's tensors, in the order of their
  /// data.
  template <class Visit>
  void in_order_of_data(Visit visit) {
    const std::span<const TensorEntry> all = tensors();
    const auto before = [](const TensorEntry& a, const TensorEntry& b) {
      return a.offset != b.offset ? a.offset < b.offset : a.bytes < b.bytes;
    };
    if (std::is_sorted(all.begin(), all.end(), before)) {
      for (std::size_t i = 0; i < all.size(); ++i) visit(all[i], described_at_[file_begin_ + i]);
      return;
    }
    std::vector<std::uint32_t> order(all.size());
    std::iota(order.begin(), order.end(), 0U);
    std::sort(order.begin(), order.end(),
              [&](std::uint32_t a, std::uint32_t b) { return before(all[a], all[b]); });
    for (const std::uint32_t i : order) visit(all[i], described_at_[file_begin_ + i]);
  }

  /// @throws FormatError if two tensors have one name, or all together more than can be counted.
  [[nodiscard]] TensorDirectory finish() &&;

  /// Layers behind those of the text decoder are of the draft tower, where the model has one.
  static void mark_draft_layers(TensorDirectory& directory, const ModelShape& shape) noexcept;

 private:
  [[nodiscard]] std::string_view keep(std::string_view name);
  void grow();
  void index_names();
  void check_sums() const;

  TensorDirectory directory_;
  std::vector<std::unique_ptr<char[]>> names_;
  std::size_t names_bytes_ = 0;
  std::span<char> names_left_;
  std::vector<std::uint64_t> described_at_;  // of each entry
  std::size_t file_begin_ = 0;
  std::uint64_t expected_ = 0;
};

}  // namespace tapedeck::internal
