/// @file
/// `Figures`: what a model's metadata says, asked by meaning instead of by key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tapedeck/base/error.hpp"
#include "tapedeck/model/metadata.hpp"

namespace tapedeck::internal {

struct Architecture;

/// Whose keys a file uses: those of a GGUF header or of a Hugging Face config.json.
enum class Dialect : std::uint8_t { gguf, config };

/// A whole number that some key of either dialect states (the table of keys is in figures.cpp).
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

/// What stands for a figure that a file does not state.
struct Default {
  Figure figure = Figure::layers;
  std::uint64_t value = 0;  ///< 0: no default.
};

/// Reads figures of one model, with the checks every one of them needs. Refers to the metadata and
/// to a row of the table of architectures, which says what holds where the file is silent.
class Figures {
 public:
  /// No honest figure is larger; so the product of any two fits in 64 bits.
  static constexpr std::uint64_t kLargest = 0x7fff'ffff;
  /// No list of a file that is kept has more, and real models have some hundreds.
  static constexpr std::uint64_t kMostLayers = Metadata::kLongestArray;

  /// @param scopes  what stands before the keys, the most telling first: "llama.", "text_config.".
  Figures(std::string path, const Metadata& metadata, Dialect dialect,
          std::vector<std::string> scopes, const Architecture& architecture);

  /// Holds where neither the file nor the architecture has the figure.
  void add_default(Default known) { defaults_.push_back(known); }

  /// The figures of an object inside: of the keys that begin with "quantization_config.".
  [[nodiscard]] Figures inside(std::string_view beginning) const;

  [[nodiscard]] Dialect dialect() const noexcept { return dialect_; }
  [[nodiscard]] bool of_gguf() const noexcept { return dialect_ == Dialect::gguf; }
  [[nodiscard]] const Architecture& architecture() const noexcept { return *architecture_; }

  /// Of one layer where the key has a list, of all layers otherwise.
  /// @throws FormatError for a value that is negative, no whole number, or too large; and for a
  /// list that is too short.
  [[nodiscard]] std::optional<std::uint64_t> find(Figure figure, std::size_t layer = 0) const;
  [[nodiscard]] std::uint64_t get(Figure figure, std::uint64_t otherwise,
                                  std::size_t layer = 0) const {
    return find(figure, layer).value_or(otherwise);
  }
  /// @throws FormatError besides where it is missing or 0.
  [[nodiscard]] std::uint64_t positive(Figure figure) const;
  /// What the file itself says, without defaults.
  [[nodiscard]] const Metadata::Entry* stated(Figure figure) const;
  /// True where the file has a list for it, one element a layer.
  [[nodiscard]] bool is_list(Figure figure) const;

  // By key, in every scope; an entry that is null counts as missing.
  /// Of several keys, which blanks separate, the first that is there.
  [[nodiscard]] const Metadata::Entry* entry(std::string_view keys) const;
  /// Of several keys, the first that states a whole number above 0.
  [[nodiscard]] std::optional<std::uint64_t> count(std::string_view keys) const;
  [[nodiscard]] auto flag(std::string_view keys) const { return read(&Metadata::boolean, keys); }
  [[nodiscard]] bool says(std::string_view keys) const { return flag(keys).value_or(false); }
  [[nodiscard]] auto real(std::string_view keys) const { return read(&Metadata::real, keys); }
  [[nodiscard]] auto text(std::string_view keys) const { return read(&Metadata::string, keys); }
  [[nodiscard]] auto texts(std::string_view keys) const { return read(&Metadata::strings, keys); }
  [[nodiscard]] auto integers(std::string_view keys) const {
    return read(&Metadata::integers, keys);
  }

  // What is wrong with a figure, by the key that states it.
  /// Where no key does, the figure is missing.
  /// @param message  goes on after the key: "is 0".
  [[noreturn]] void throw_figure_error(Figure figure, FormatFault fault,
                                       const std::string& message) const;
  [[noreturn]] void throw_figure_error(const Metadata::Entry& entry, FormatFault fault,
                                       const std::string& message) const;

 private:
  /// What one of the getters of `Metadata` gives: nothing, or nothing of it, where there is none.
  template <class Value>
  [[nodiscard]] Value read(Value (Metadata::*getter)(std::string_view) const noexcept,
                           std::string_view keys) const {
    const Metadata::Entry* const found = entry(keys);
    return found == nullptr ? Value() : (metadata_->*getter)(found->key);
  }
  [[nodiscard]] std::string_view keys_of(Figure figure) const noexcept;
  [[nodiscard]] std::uint64_t checked_figure(const Metadata::Entry& entry, std::int64_t value,
                                             Figure figure) const;

  std::string path_;
  const Metadata* metadata_;
  Dialect dialect_;
  std::vector<std::string> scopes_;
  const Architecture* architecture_;
  std::vector<Default> defaults_;  // the first of a figure counts
};

}  // namespace tapedeck::internal
