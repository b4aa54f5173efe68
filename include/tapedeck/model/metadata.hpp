// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Metadata`: what a model's file states about itself, as a flat list of keys and values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The key-value pairs of a GGUF header ("llama.block_count") or of a config.json. The keys of a
/// config.json are paths joined by dots ("text_config.hidden_size",
/// "block_configs.3.ffn.ffn_mult").
///
/// Values that a planner does not need are counted but not kept: arrays of more than
/// `kLongestArray` numbers or `kLongestStringArray` strings (vocabularies, merges) and strings of
/// more than `kLongestString` bytes become an `Omitted`. Shorter arrays (head counts, layer kinds)
/// are kept. `read_gguf_strings` and its siblings read the long arrays of a GGUF file.
///
/// The accessors by type return `nullopt`, or an empty span, if the key is missing, null, or of
/// another type. Thread-safety: immutable after it has been read.
/// @code{.cpp}
/// using namespace tapedeck;
/// Metadata metadata;
/// metadata.add("llama.block_count", std::uint64_t{32}, 24);
/// assert(metadata.integer("llama.block_count") == 32);
/// assert(!metadata.integer("llama.expert_count"));
/// @endcode
class Metadata {
 public:
  /// An array or a string that was skipped.
  struct Omitted {
    std::uint64_t count;  ///< Elements of the array, or bytes of the string.
  };
  /// null, boolean, non-negative integer, negative integer, real, string, or an array of those.
  using Value = std::variant<std::monostate, bool, std::uint64_t, std::int64_t, double, std::string,
                             std::vector<std::int64_t>, std::vector<double>,
                             std::vector<std::string>, Omitted>;
  struct Entry {
    std::string key;
    Value value;
    std::uint64_t offset;  ///< Byte offset of the entry in the file.
  };
  static constexpr std::size_t kLongestArray = 4096;
  static constexpr std::size_t kLongestStringArray = 1024;
  static constexpr std::size_t kLongestString = 64 << 10;

  /// Adds an entry. Returns false, and adds nothing, if the key exists already.
  bool add(std::string key, Value value, std::uint64_t offset = 0);

  [[nodiscard]] std::span<const Entry> entries() const noexcept { return entries_; }
  /// The entry with this key, or nullptr if there is none.
  [[nodiscard]] const Entry* find(std::string_view key) const noexcept;
  /// True if the key exists and its value is not null.
  [[nodiscard]] bool has(std::string_view key) const noexcept;

  /// A whole number that is not negative, which includes reals such as 4096.0.
  [[nodiscard]] std::optional<std::uint64_t> integer(std::string_view key) const noexcept;
  /// A number of any kind.
  [[nodiscard]] std::optional<double> real(std::string_view key) const noexcept;
  [[nodiscard]] std::optional<bool> boolean(std::string_view key) const noexcept;
  [[nodiscard]] std::optional<std::string_view> string(std::string_view key) const noexcept;
  /// An array of integers. Booleans are stored as zeros and ones.
  [[nodiscard]] std::span<const std::int64_t> integers(std::string_view key) const noexcept;
  [[nodiscard]] std::span<const std::string> strings(std::string_view key) const noexcept;

 private:
  struct Hash {
    using is_transparent = void;  // NOLINT(readability-identifier-naming): the library's word
    std::size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>{}(text);
    }
  };

  std::vector<Entry> entries_;
  std::unordered_map<std::string, std::size_t, Hash, std::equal_to<>> index_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
