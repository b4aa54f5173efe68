// SPDX-License-Identifier: Apache-2.0
/// @file
/// llama2.c checkpoints of version 0: seven int32 followed by arrays of f32. The format is defined
/// by run.c and export.py of karpathy/llama2.c.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/model/model.hpp"

namespace tapedeck::internal {

inline constexpr std::array<const char*, 7> kLlama2cFields = {
    "dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"};
inline constexpr std::size_t kLlama2cVocabulary = 5;  // index in kLlama2cFields
using Llama2cHeader = std::array<std::int32_t, kLlama2cFields.size()>;

/// The reason why a header is not one of a model.
struct Llama2cFault {
  std::size_t field;  ///< Index in `kLlama2cFields`.
  FormatFault kind;
  const char* text;                      ///< "does not divide", "exceeds the maximum of".
  std::optional<std::size_t> other{};    ///< The field that the text is about, if any.
  std::optional<std::uint64_t> limit{};  ///< The nearest value that is possible, if it is known.
};
[[nodiscard]] std::optional<Llama2cFault> find_fault(const Llama2cHeader& header) noexcept;

/// Continues a sentence that the name of the fault's field begins: "of 7 does not divide dim of
/// 64". `names` are those of the fields, in the order of `kLlama2cFields`.
[[nodiscard]] std::string words_of(const Llama2cFault& fault, const Llama2cHeader& header,
                                   std::span<const char* const> names);

struct Llama2cFigures {
  std::uint64_t dim = 0;
  std::uint64_t ffn = 0;
  std::uint64_t layers = 0;
  std::uint64_t heads = 0;
  std::uint64_t kv_heads = 0;
  std::uint64_t vocabulary = 0;
  std::uint64_t context = 0;
  bool own_classifier = false;  ///< Stated by a negative vocabulary.

  [[nodiscard]] std::uint64_t head_size() const noexcept { return dim / heads; }
};

/// @pre no field other than the vocabulary is negative
[[nodiscard]] Llama2cFigures figures_of(const Llama2cHeader& header) noexcept;

/// All arrays of f32, [count][rows][columns], in the order of the file. Those of kind `other` are
/// tables of angles, which programs compute themselves today. @pre heads is not 0
[[nodiscard]] std::vector<Parameter> llama2c_arrays(const Llama2cFigures& figures);

/// `nullopt` if the size does not fit in 64 bits.
[[nodiscard]] std::optional<std::uint64_t> bytes_of_array(const Parameter& array) noexcept;

/// Whether the first bytes of a file can be a llama2.c header. The format has no magic number, so
/// this checks whether the values are possible.
[[nodiscard]] bool looks_like_llama2c(std::span<const std::byte> head) noexcept;

/// @throws SystemError, FormatError
[[nodiscard]] Model read_llama2c(const std::filesystem::path& path);

}  // namespace tapedeck::internal
