// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/base/dtype.hpp"

#include <algorithm>
#include <array>
#include <numeric>

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

struct Alias {
  std::string_view name;
  DType type;
};

// Spellings of PyTorch, NumPy, transformers, Mistral and llama.cpp, in addition to our own names.
constexpr Alias kAliases[] = {
    {"float32", DType::f32},
    {"float", DType::f32},
    {"fp32", DType::f32},
    {"float16", DType::f16},
    {"half", DType::f16},
    {"fp16", DType::f16},
    {"bfloat16", DType::bf16},
    {"float64", DType::f64},
    {"double", DType::f64},
    {"int8", DType::i8},
    {"int16", DType::i16},
    {"int32", DType::i32},
    {"int64", DType::i64},
    {"uint8", DType::u8},
    {"uint16", DType::u16},
    {"uint32", DType::u32},
    {"uint64", DType::u64},
    {"boolean", DType::boolean},
    {"complex64", DType::c64},
    {"fp8", DType::f8_e4m3},
    {"fp8_e4m3", DType::f8_e4m3},
    {"fp8_e5m2", DType::f8_e5m2},
    {"float8_e4m3fn", DType::f8_e4m3},
    {"float8_e5m2", DType::f8_e5m2},
    {"float8_e8m0fnu", DType::f8_e8m0},
    {"float4_e2m1fn_x2", DType::f4},
};

constexpr char lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool same_but_for_case(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

}  // namespace

std::optional<DType> dtype_from_name(std::string_view name) noexcept {
  constexpr std::string_view kTorch = "torch.";
  if (name.size() > kTorch.size() && same_but_for_case(name.substr(0, kTorch.size()), kTorch)) {
    name.remove_prefix(kTorch.size());
  }
  for (std::size_t i = 0; i < kDTypes; ++i) {
    const auto type = static_cast<DType>(i);
    if (same_but_for_case(name, to_string(type))) return type;
  }
  for (const Alias& alias : kAliases) {
    if (same_but_for_case(name, alias.name)) return alias.type;
  }
  return std::nullopt;
}

std::optional<DType> dtype_from_ggml(std::uint32_t number) noexcept {
  using enum DType;
  constexpr std::optional<DType> taken_back;
  // In the order of the numbers. Removed from ggml: q4_2, q4_3, q4_0_4_4, q4_0_4_8, q4_0_8_8,
  // iq4_nl_4_4, iq4_nl_4_8, iq4_nl_8_8.
  constexpr std::array<std::optional<DType>, 43> kTypes = {
      f32,        f16,        q4_0,    q4_1,  taken_back, taken_back, q5_0,       q5_1,
      q8_0,       q8_1,       q2_k,    q3_k,  q4_k,       q5_k,       q6_k,       q8_k,
      iq2_xxs,    iq2_xs,     iq3_xxs, iq1_s, iq4_nl,     iq3_s,      iq2_s,      iq4_xs,
      i8,         i16,        i32,     i64,   f64,        iq1_m,      bf16,       taken_back,
      taken_back, taken_back, tq1_0,   tq2_0, taken_back, taken_back, taken_back, mxfp4,
      nvfp4,      q1_0,       q2_0};
  return number < kTypes.size() ? kTypes[number] : std::nullopt;
}

// The size of a block is a multiple of its widest number, which has at most 4 bytes.
std::uint64_t natural_alignment(DType type) noexcept {
  const DTypeTraits& of = traits(type);
  const std::uint64_t widest = of.block_elements == 1 ? 8 : 4;
  return std::gcd(std::uint64_t{of.block_bytes}, widest);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
