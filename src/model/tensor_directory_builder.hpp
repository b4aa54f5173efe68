/// @file
/// Makes a `TensorDirectory`, header by header.
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

  /// What must be whole blocks of a quantized type.
  enum class Blocks : std::uint8_t { of_rows, of_the_tensor };
  /// The bytes of a tensor of the current file, by type and shape.
  /// @throws FormatError where they cannot be counted, or a block is not whole.
  [[nodiscard]] std::uint64_t bytes_of_tensor(const TensorEntry& entry, std::uint64_t described_at,
                                              Blocks blocks) const;
  /// Turns the offsets of the current file's tensors from those in its data, which begin where the
  /// file says, into those in the file.
  /// @throws FormatError where the tensors do not lie one behind the other, or end beyond any file.
  void place_data();

  /// Calls `visit(tensor, described_at)` for the current file's tensors, in the order of their
  /// data.
  template <class Visit>
  void in_order_of_data(Visit visit) {
    const std::span<const TensorEntry> all = tensors();
    std::vector<std::uint32_t> order(all.size());
    std::iota(order.begin(), order.end(), 0U);
    std::ranges::sort(order, {},
                      [&](std::uint32_t i) { return std::pair(all[i].offset, all[i].bytes); });
    for (const std::uint32_t i : order) visit(all[i], described_at_[file_begin_ + i]);
  }

  /// @throws FormatError if two tensors have one name, or all together more than can be counted.
  [[nodiscard]] TensorDirectory finish() &&;

  /// Layers behind those of the text decoder are of the draft tower, where the model has one.
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
