// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Model`: what a model's own files state about it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/metadata.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/model/tensor_directory.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

enum class ModelFormat : std::uint8_t { gguf, safetensors, config, llama2c };

[[nodiscard]] constexpr const char* to_string(ModelFormat format) noexcept {
  constexpr std::array names = {"gguf", "safetensors", "config", "llama2c"};
  return names[static_cast<std::size_t>(format)];
}

/// A model as its files describe it, returned by `read_model`. Thread-safety: a value.
struct Model {
  ModelFormat format = ModelFormat::gguf;
  std::filesystem::path path;
  std::uint32_t version = 0;  ///< Version of the GGUF format; 0 for other formats.
  Metadata metadata;
  ModelShape shape;         ///< Has no layers if the files do not describe the architecture.
  TensorDirectory tensors;  ///< Empty for a config.json alone.
};

}  // namespace tapedeck::inline TAPEDECK_ABI
