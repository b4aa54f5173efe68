/// @file
/// llama2.c checkpoints, version 0: seven int32, then arrays of f32. Format: llama2_utils of
/// karpathy/llama2.c (run.c, export.py).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/model/model.hpp"

namespace tapedeck::internal {

inline constexpr std::array<const char*, 7> kLlama2cFields = {
    "dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"};
inline constexpr std::size_t kLlama2cVocabulary = 5;  // of these
using Llama2cHeader = std::array<std::int32_t, kLlama2cFields.size()>;

/// Why a header makes no model.
struct Llama2cFault {
  std::size_t field;
  FormatFault kind;
  const char* text;  ///< As in "n_heads of 7 does not divide dim", after the number.
};
[[nodiscard]] std::optional<Llama2cFault> find_fault(const Llama2cHeader& header) noexcept;

struct Llama2cFigures {
  std::uint64_t dim = 0;
  std::uint64_t ffn = 0;
  std::uint64_t layers = 0;
  std::uint64_t heads = 0;
  std::uint64_t kv_heads = 0;
  std::uint64_t vocabulary = 0;
  std::uint64_t context = 0;
  bool own_classifier = false;  ///< Said by a negative vocabulary.

  [[nodiscard]] std::uint64_t head_size() const noexcept { return dim / heads; }
};

/// @pre no other field than the vocabulary is negative
[[nodiscard]] Llama2cFigures figures_of(const Llama2cHeader& header) noexcept;

/// All arrays of f32, [count][rows][columns], in the order of the file. Those of kind `other` are
/// tables of angles, which are computed today. @pre heads is not 0
[[nodiscard]] std::vector<Parameter> llama2c_arrays(const Llama2cFigures& figures);

/// Nothing where the product does not fit.
[[nodiscard]] std::optional<std::uint64_t> bytes_of_array(const Parameter& array) noexcept;

/// Whether the first bytes of a file can be such a header. It has no magic: this asks whether its
/// figures make a model.
[[nodiscard]] bool looks_like_llama2c(std::span<const std::byte> head) noexcept;

/// @throws SystemError, FormatError
[[nodiscard]] Model read_llama2c(const std::filesystem::path& path);

}  // namespace tapedeck::internal
