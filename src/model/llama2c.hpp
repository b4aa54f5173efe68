/// @file
/// llama2.c checkpoints, version 0: seven int32, then arrays of f32. Format: llama2_utils of
/// karpathy/llama2.c (run.c, export.py).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"

namespace tapedeck::inline TAPEDECK_ABI::model {

inline constexpr std::size_t kLlama2cHeader = 28;

/// Whether the first bytes of a file can be such a header. It has no magic: this asks whether its
/// figures make a model.
[[nodiscard]] bool looks_like_llama2c(std::span<const std::byte> head) noexcept;

/// @throws SystemError, FormatError
[[nodiscard]] Model read_llama2c(const std::filesystem::path& path);

}  // namespace tapedeck::inline TAPEDECK_ABI::model
