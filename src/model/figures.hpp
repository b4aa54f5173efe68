// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Figures`: values from a model's metadata, accessed by meaning instead of by key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tapedeck/base/error.hpp"
#include "tapedeck/model/metadata.hpp"

namespace tapedeck::internal {

struct Architecture;

/// Whether a file uses the keys of a GGUF header or those of a Hugging Face config.json.
enum class Dialect : std::uint8_t { gguf, config };

/// A whole number that a key states in at least one dialect. The table of keys is in figures.cpp.
enum class Figure : std::uint8_t {
  // clang-format off
  layers, hidden, vocabulary, context, draft_layers,
  heads, heads_windowed, kv_heads, kv_heads_windowed, kv_heads_full,
  head_dim, head_dim_windowed, head_dim_full, value_dim, value_dim_windowed,
  window, window_period, chunk, first_windowed_layer, shared_cache_layers, cache_layers,
  kv_lora, q_lora, rope_dim, nope_dim, latent_key_dim, indexer_dim, compress_ratio,
  ffn, experts, experts_used, expert_ffn, shared_experts, shared_ffn,
  dense_layers, expert_period, expert_offset,
  conv_kernel, inner, state_heads, state_head_dim, state, groups, expand, time_step_rank,
  conv_cache, attention_period, attention_offset, wkv_head, token_shift,
  // clang-format on
};
inline constexpr std::size_t kFigures = static_cast<std::size_t>(Figure::token_shift) + 1;

/// The sizes that a field of a file bears on, one bit each. What bears on either of them bears on
/// the compute buffers, too.
enum Sizes : std::uint8_t { kNoSizes = 0, kWeightSizes = 1, kCacheSizes = 2, kAllSizes = 3 };

/// The value of a figure that a file does not state.
struct Default {
  Figure figure = Figure::layers;
  std::uint64_t value = 0;  ///< 0: no default.
};

/// Reads and checks the figures of one model. Refers to the metadata and to a row of the table of
/// architectures, which has defaults for figures that the file does not state.
///
/// Each entry that is read is marked as used, so that those that no rule has used can be named.
class Figures {
 public:
  /// The largest figure that is accepted, so that the product of any two fits in 64 bits.
  static constexpr std::uint64_t kLargest = 0x7fff'ffff;
  /// `Metadata` keeps no longer list, and real models have a few hundred layers.
  static constexpr std::uint64_t kMostLayers = Metadata::kLongestArray;

  /// @param scopes  prefixes of the keys, the preferred one first: "llama.", "text_config."
  Figures(std::string path, const Metadata& metadata, Dialect dialect,
          std::vector<std::string> scopes, const Architecture& architecture);

  /// Adds a default that is used if neither the file nor the architecture has the figure.
  void add_default(Default known) { defaults_.push_back(known); }

  /// The figures of a nested object, whose keys begin with `beginning`: "quantization_config."
  [[nodiscard]] Figures inside(std::string_view beginning) const;
  /// The same figures for rules that derive only these sizes from what they read.
  [[nodiscard]] Figures for_sizes(Sizes sizes) const;

  [[nodiscard]] Dialect dialect() const noexcept { return dialect_; }
  [[nodiscard]] bool of_gguf() const noexcept { return dialect_ == Dialect::gguf; }
  [[nodiscard]] const Architecture& architecture() const noexcept { return *architecture_; }
  [[nodiscard]] const Metadata& metadata() const noexcept { return *metadata_; }
  [[nodiscard]] const std::vector<std::string>& scopes() const noexcept { return scopes_; }
  /// The sizes that were derived from an entry.
  [[nodiscard]] Sizes used_for(const Metadata::Entry& entry) const noexcept;

  /// Marks what a rule has taken into account without reading its value, because something else
  /// decides here.
  void consider(Figure figure) const { consider(keys_of(figure)); }
  void consider(std::string_view keys) const;
  /// Marks every entry in the scopes.
  void consider_all() const;

  /// The value for `layer` if the key has a list, otherwise the value for all layers.
  /// @throws FormatError for a value that is negative, not a whole number, or too large, and for a
  /// list that is too short.
  [[nodiscard]] std::optional<std::uint64_t> find(Figure figure, std::size_t layer = 0) const;
  [[nodiscard]] std::uint64_t get(Figure figure, std::uint64_t otherwise,
                                  std::size_t layer = 0) const {
    return find(figure, layer).value_or(otherwise);
  }
  /// @throws FormatError as `find`, and if the value is missing or 0.
  [[nodiscard]] std::uint64_t positive(Figure figure) const;
  /// The file's own entry, without defaults; nullptr if there is none.
  [[nodiscard]] const Metadata::Entry* stated(Figure figure) const;
  /// True if the file has a list for the figure, with one element per layer.
  [[nodiscard]] bool is_list(Figure figure) const;

  // Access by keys, which are separated by spaces and searched in every scope. The first one that
  // exists is used; an entry that is null counts as missing.
  [[nodiscard]] const Metadata::Entry* entry(std::string_view keys) const;
  /// The first value that is a whole number greater than 0. @throws FormatError if it is too large.
  [[nodiscard]] std::optional<std::uint64_t> count(std::string_view keys) const;
  [[nodiscard]] auto flag(std::string_view keys) const { return read(&Metadata::boolean, keys); }
  [[nodiscard]] bool says(std::string_view keys) const { return flag(keys).value_or(false); }
  [[nodiscard]] auto real(std::string_view keys) const { return read(&Metadata::real, keys); }
  [[nodiscard]] auto text(std::string_view keys) const { return read(&Metadata::string, keys); }
  [[nodiscard]] auto texts(std::string_view keys) const { return read(&Metadata::strings, keys); }
  [[nodiscard]] auto integers(std::string_view keys) const {
    return read(&Metadata::integers, keys);
  }

  /// Names the key that states the figure, or reports it as missing if there is none.
  /// @param message  continues the sentence after the key: "is 0"
  [[noreturn]] void throw_figure_error(Figure figure, FormatFault fault,
                                       const std::string& message) const;
  [[noreturn]] void throw_figure_error(const Metadata::Entry& entry, FormatFault fault,
                                       const std::string& message) const;

 private:
  /// Calls a getter of `Metadata` for the first key that exists.
  template <class Value>
  [[nodiscard]] Value read(Value (Metadata::*getter)(std::string_view) const noexcept,
                           std::string_view keys) const {
    const Metadata::Entry* const found = find_entry(keys);
    const Value value = found == nullptr ? Value() : (metadata_->*getter)(found->key);
    if (has_value(value)) mark(*found);
    return value;
  }
  template <class Value>
  [[nodiscard]] static bool has_value(const std::optional<Value>& value) noexcept {
    return value.has_value();
  }
  template <class Value>
  [[nodiscard]] static bool has_value(std::span<const Value> values) noexcept {
    return !values.empty();
  }
  [[nodiscard]] const Metadata::Entry* find_entry(std::string_view keys) const;
  void mark(const Metadata::Entry& entry) const;
  [[nodiscard]] std::string_view keys_of(Figure figure) const noexcept;
  template <class Number>
  [[nodiscard]] std::uint64_t checked_figure(const Metadata::Entry& entry, Number value,
                                             std::uint64_t most) const;

  std::string path_;
  const Metadata* metadata_;
  Dialect dialect_;
  std::vector<std::string> scopes_;
  const Architecture* architecture_;
  std::vector<Default> defaults_;  // the first one for a figure is used
  Sizes sizes_ = kAllSizes;        // derived from what is read
  // For each entry of the metadata, the sizes that were derived from it. All copies share it.
  std::shared_ptr<std::vector<std::uint8_t>> used_;
};

}  // namespace tapedeck::internal
