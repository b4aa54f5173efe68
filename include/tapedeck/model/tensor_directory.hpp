/// @file
/// `TensorDirectory`: the tensors of a model, and where in its files they lie.
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

/// One tensor. All figures were checked when the directory was read: the bytes follow from type and
/// shape, and nothing overflows.
struct TensorEntry {
  static constexpr std::size_t kMostDimensions = 8;

  std::string_view name;  ///< Lives as long as the directory (or a copy of it).
  DType dtype = DType::f32;
  bool aligned = false;      ///< The data lies in its file at a multiple of its element's size.
  std::uint8_t rank = 0;     ///< 0: one number.
  std::uint32_t file = 0;    ///< Index into `TensorDirectory::files()`.
  std::uint64_t offset = 0;  ///< Of the data, from the start of its file.
  std::uint64_t bytes = 0;
  PartId id{};  ///< What it is, as the reader of its format made out.
  /// Slowest dimension first, as safetensors states them; GGUF's are turned round.
  std::array<std::uint64_t, kMostDimensions> dimensions{};

  [[nodiscard]] std::span<const std::uint64_t> shape() const noexcept {
    return {dimensions.data(), rank};
  }
  [[nodiscard]] std::uint64_t elements() const noexcept;
};

/// A file that holds tensors.
struct TensorFile {
  std::filesystem::path path{};
  std::uint64_t size = 0;        ///< Of the file as it is.
  std::uint64_t data_begin = 0;  ///< Where the header ends.
  std::uint64_t data_end = 0;    ///< Where the last tensor ends, as the header states.
  std::uint64_t alignment = 1;   ///< What the format promises for tensors.
  /// Tells the file whose header was read from another one of that name, or a changed one: a hash
  /// of device, number, size and time of the last change.
  std::uint64_t stamp = 0;

  /// The header is whole and some data is missing: good for planning, not for loading. What pads
  /// the header of a file without data may be missing.
  [[nodiscard]] bool truncated() const noexcept { return data_end > size && data_end > data_begin; }
};

/// The tensors of a model's files, in the order of the files' headers. Thread-safety: immutable
/// once read. Copies share the names.
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
  /// nullptr where there is none of that name. O(log n).
  [[nodiscard]] const TensorEntry* find(std::string_view name) const noexcept;
  [[nodiscard]] std::uint64_t bytes() const noexcept;     ///< Sum over all tensors.
  [[nodiscard]] std::uint64_t elements() const noexcept;  ///< Sum over all tensors.
  [[nodiscard]] bool truncated() const noexcept;          ///< Any file is.

 private:
  friend class internal::TensorDirectoryBuilder;

  std::shared_ptr<const void> names_;  // what the names lie in
  std::vector<TensorFile> files_;
  std::vector<TensorEntry> entries_;
  std::vector<std::uint32_t> by_name_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
