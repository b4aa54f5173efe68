// SPDX-License-Identifier: Apache-2.0
/// @file
/// `TensorDirectory`: the tensors of a model, and where each one is in the model's files.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/base/part_id.hpp"

namespace tapedeck::internal {
class TensorDirectoryBuilder;
}

namespace tapedeck::inline TAPEDECK_ABI {

/// One tensor. All values were checked when the directory was read: `bytes` follows from type and
/// shape, and nothing overflows.
struct TensorEntry {
  static constexpr std::size_t kMostDimensions = 8;

  std::string_view name;  ///< Valid as long as the directory or a copy of it exists.
  DType dtype = DType::f32;
  bool aligned = false;      ///< `offset` is a multiple of the element size.
  std::uint8_t rank = 0;     ///< Number of dimensions; 0 for a scalar.
  std::uint32_t file = 0;    ///< Index into `TensorDirectory::files()`.
  std::uint64_t offset = 0;  ///< Byte offset of the data in its file.
  std::uint64_t bytes = 0;
  PartId id{};  ///< Identity of the tensor, as the reader of its format determined it.
  /// Slowest dimension first, as in safetensors; those of GGUF are reversed.
  std::array<std::uint64_t, kMostDimensions> dimensions{};

  [[nodiscard]] std::span<const std::uint64_t> shape() const noexcept {
    return {dimensions.data(), rank};
  }
  [[nodiscard]] std::uint64_t elements() const noexcept;
};

/// A file that holds tensors.
struct TensorFile {
  std::filesystem::path path{};
  std::uint64_t size = 0;        ///< Actual size of the file.
  std::uint64_t data_begin = 0;  ///< Offset where the header ends.
  std::uint64_t data_end = 0;    ///< Offset where the last tensor ends, according to the header.
  std::uint64_t alignment = 1;   ///< Alignment of tensors that the format guarantees.
  /// A hash of device, inode, size and modification time, which detects that the file was replaced
  /// or changed after its header was read.
  std::uint64_t stamp = 0;
  /// Bytes of the data that were never written and read as zeros: holes of the file. A
  /// download that preallocates its file has them until it ends, and a sparse copy may have them.
  std::uint64_t unwritten = 0;

  /// True if the header is complete but some tensor data is missing: good for planning, not for
  /// loading. Missing padding after a header without tensor data does not count.
  [[nodiscard]] bool truncated() const noexcept { return data_end > size && data_end > data_begin; }
};

/// The tensors of all files of a model, in the order of the headers. Copies share the names.
/// Thread-safety: immutable after it has been read.
/// @code{.cpp}
/// // compile only
/// const tapedeck::Model model = tapedeck::read_model("llama.gguf");
/// for (const tapedeck::TensorEntry& tensor : model.tensors.entries()) {
///   std::cout << tensor.name << ' ' << tensor.bytes << '\n';
/// }
/// @endcode
class TensorDirectory {
 public:
  [[nodiscard]] std::span<const TensorEntry> entries() const noexcept { return entries_; }
  [[nodiscard]] std::span<const TensorFile> files() const noexcept { return files_; }
  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
  /// The tensor with this name, or nullptr if there is none. O(log n).
  [[nodiscard]] const TensorEntry* find(std::string_view name) const noexcept;
  [[nodiscard]] std::uint64_t bytes() const noexcept;     ///< Sum over all tensors.
  [[nodiscard]] std::uint64_t elements() const noexcept;  ///< Sum over all tensors.
  [[nodiscard]] bool truncated() const noexcept;          ///< True if any file is truncated.

 private:
  friend class internal::TensorDirectoryBuilder;

  std::shared_ptr<const void> names_;  // owns the characters of all names
  std::vector<TensorFile> files_;
  std::vector<TensorEntry> entries_;
  std::vector<std::uint32_t> by_name_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
