/// @file
/// `Metadata`: what a model's file says of itself, as a flat list of keys and values.
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

/// Key-value pairs of a GGUF header ("llama.block_count") or of a config.json, where the path to a
/// value is joined by dots ("text_config.hidden_size", "block_configs.3.ffn.ffn_mult").
///
/// What a planner does not need is counted and not kept: arrays of more than `kLongestArray`
/// numbers or `kLongestStringArray` strings (vocabularies, merges) and strings of more than
/// `kLongestString` bytes are an `Omitted`. Short arrays (head counts, layer kinds) are kept. The
/// long arrays of a GGUF file can be read by `read_gguf_strings` and its like.
///
/// Thread-safety: immutable once read.
/// @code{.cpp}
/// using namespace tapedeck;
/// Metadata metadata;
/// metadata.add("llama.block_count", std::uint64_t{32}, 24);
/// assert(metadata.integer("llama.block_count") == 32);
/// assert(!metadata.integer("llama.expert_count"));
/// @endcode
class Metadata {
 public:
  /// An array or a string that was read over.
  struct Omitted {
    std::uint64_t count;  ///< Of its elements or bytes.
  };
  /// null | boolean | integers (negative ones apart) | real | string | arrays of those.
  using Value = std::variant<std::monostate, bool, std::uint64_t, std::int64_t, double, std::string,
                             std::vector<std::int64_t>, std::vector<double>,
                             std::vector<std::string>, Omitted>;
  struct Entry {
    std::string key;
    Value value;
    std::uint64_t offset;  ///< The byte of the file where the entry starts.
  };
  static constexpr std::size_t kLongestArray = 4096;
  static constexpr std::size_t kLongestStringArray = 1024;
  static constexpr std::size_t kLongestString = 64 << 10;

  /// False, and nothing added, where the key is there already.
  bool add(std::string key, Value value, std::uint64_t offset = 0);

  [[nodiscard]] std::span<const Entry> entries() const noexcept { return entries_; }
  /// nullptr where there is no such key.
  [[nodiscard]] const Entry* find(std::string_view key) const noexcept;
  /// True where the key is there and not null.
  [[nodiscard]] bool has(std::string_view key) const noexcept;

  // Each gives nothing where the key is missing, null, or of another kind.
  /// A whole number that is not negative; a real that is one counts too ("4096.0").
  [[nodiscard]] std::optional<std::uint64_t> integer(std::string_view key) const noexcept;
  [[nodiscard]] std::optional<double> real(std::string_view key) const noexcept;
  [[nodiscard]] std::optional<bool> boolean(std::string_view key) const noexcept;
  [[nodiscard]] std::optional<std::string_view> string(std::string_view key) const noexcept;
  /// Empty where there is none. A boolean array is one of zeros and ones.
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
