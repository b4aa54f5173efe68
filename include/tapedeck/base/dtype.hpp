// SPDX-License-Identifier: Apache-2.0
/// @file
/// `DType`: how the numbers of a tensor are stored, and how many bytes they take.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/checked.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// An element type of safetensors, or a block type of ggml. Thread-safety: a value.
/// @code{.cpp}
/// using namespace tapedeck;
/// static_assert(traits(DType::q4_0).block_bytes == 18);
/// assert(bytes_of(DType::q4_0, 4096) == 2304);                // a row of 4096 weights
/// assert(bytes_of(DType::q4_0, 33) == std::nullopt);          // not a whole number of blocks
/// assert(dtype_from_name("Q4_0") == DType::q4_0);
/// @endcode
enum class DType : std::uint8_t {
  // clang-format off
  f32, f16, bf16, f64,
  i8, i16, i32, i64, u8, u16, u32, u64,
  boolean, c64,
  f8_e4m3, f8_e5m2, f8_e8m0, f6_e2m3, f6_e3m2, f4,
  q4_0, q4_1, q5_0, q5_1, q8_0, q8_1,
  q2_k, q3_k, q4_k, q5_k, q6_k, q8_k,
  iq1_s, iq1_m, iq2_xxs, iq2_xs, iq2_s, iq3_xxs, iq3_s, iq4_nl, iq4_xs,
  tq1_0, tq2_0, mxfp4, nvfp4, q1_0, q2_0,
  // clang-format on
};
inline constexpr std::size_t kDTypes = static_cast<std::size_t>(DType::q2_0) + 1;

/// Elements are stored in blocks: `block_bytes` for every `block_elements`.
struct DTypeTraits {
  std::string_view name;  ///< Lower case: "bf16", "q4_k".
  std::uint32_t block_bytes;
  std::uint32_t block_elements;
};

}  // namespace tapedeck::inline TAPEDECK_ABI

namespace tapedeck::internal {

// In the order of DType. Source: ggml-common.h of ggml; the safetensors format description.
inline constexpr DTypeTraits kDTypeTraits[kDTypes] = {
    {"f32", 4, 1},        {"f16", 2, 1},        {"bf16", 2, 1},       {"f64", 8, 1},
    {"i8", 1, 1},         {"i16", 2, 1},        {"i32", 4, 1},        {"i64", 8, 1},
    {"u8", 1, 1},         {"u16", 2, 1},        {"u32", 4, 1},        {"u64", 8, 1},
    {"bool", 1, 1},       {"c64", 8, 1},        {"f8_e4m3", 1, 1},    {"f8_e5m2", 1, 1},
    {"f8_e8m0", 1, 1},    {"f6_e2m3", 3, 4},    {"f6_e3m2", 3, 4},    {"f4", 1, 2},
    {"q4_0", 18, 32},     {"q4_1", 20, 32},     {"q5_0", 22, 32},     {"q5_1", 24, 32},
    {"q8_0", 34, 32},     {"q8_1", 36, 32},     {"q2_k", 84, 256},    {"q3_k", 110, 256},
    {"q4_k", 144, 256},   {"q5_k", 176, 256},   {"q6_k", 210, 256},   {"q8_k", 292, 256},
    {"iq1_s", 50, 256},   {"iq1_m", 56, 256},   {"iq2_xxs", 66, 256}, {"iq2_xs", 74, 256},
    {"iq2_s", 82, 256},   {"iq3_xxs", 98, 256}, {"iq3_s", 110, 256},  {"iq4_nl", 18, 32},
    {"iq4_xs", 136, 256}, {"tq1_0", 54, 256},   {"tq2_0", 66, 256},   {"mxfp4", 17, 32},
    {"nvfp4", 36, 64},    {"q1_0", 18, 128},    {"q2_0", 18, 64},
};

}  // namespace tapedeck::internal

namespace tapedeck::inline TAPEDECK_ABI {

[[nodiscard]] constexpr const DTypeTraits& traits(DType type) noexcept {
  return internal::kDTypeTraits[static_cast<std::size_t>(type)];
}

[[nodiscard]] constexpr std::string_view to_string(DType type) noexcept {
  return traits(type).name;
}

/// The size in bytes of `elements` consecutive elements. Returns `nullopt` if they do not fill a
/// whole number of blocks or if the product overflows.
[[nodiscard]] constexpr std::optional<std::uint64_t> bytes_of(DType type,
                                                              std::uint64_t elements) noexcept {
  const DTypeTraits& of = traits(type);
  if (elements % of.block_elements != 0) return std::nullopt;
  return checked_mul(elements / of.block_elements, of.block_bytes);
}

/// The alignment, in bytes, at which elements of this type can be read in place. For a number it is
/// the number's size; for a block, the size of its widest number (a float, or a pair of f16).
[[nodiscard]] std::uint64_t natural_alignment(DType type) noexcept;

/// Finds a type by name, ignoring case. Accepts the spellings of this library, of safetensors and
/// of common tools ("F8_E4M3", "float16", "torch.bfloat16", "fp8", "int8", "Q4_K"). Returns
/// `nullopt` for an unknown name.
[[nodiscard]] std::optional<DType> dtype_from_name(std::string_view name) noexcept;

/// Finds a type by its number in a GGUF file. Returns `nullopt` for a number that is unknown or was
/// removed from the format. Source: enum ggml_type of ggml.h.
[[nodiscard]] std::optional<DType> dtype_from_ggml(std::uint32_t number) noexcept;

}  // namespace tapedeck::inline TAPEDECK_ABI
