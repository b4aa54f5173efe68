/// @file
/// `read_model`: what a model's own files say of it, without reading its weights.
#pragma once

#include <cstdint>
#include <filesystem>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/metadata.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/model/tensor_directory.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN

enum class ModelFormat : std::uint8_t { gguf, safetensors, config, llama2c };

[[nodiscard]] const char* to_string(ModelFormat format) noexcept;

/// A model as its files describe it. Thread-safety: a value.
/// @code{.cpp}
/// // compile only
/// const tapedeck::Model model = tapedeck::read_model("llama.gguf");
/// if (model.tensors.truncated()) std::cout << "a header without its data\n";
/// std::cout << model.shape.layers.size() << " layers of " << model.shape.architecture << '\n';
/// @endcode
struct Model {
  ModelFormat format = ModelFormat::gguf;
  std::filesystem::path path;
  std::uint32_t version = 0;  ///< Of a GGUF file; 0 elsewhere.
  Metadata metadata;
  ModelShape shape;         ///< No layers where the files say nothing of the architecture.
  TensorDirectory tensors;  ///< Empty for a config.json alone.
};

/// Reads the headers of a model: a GGUF file (with all parts of a split one, from any of them), a
/// safetensors file, a model.safetensors.index.json, a Hugging Face config.json, a llama2.c
/// checkpoint, or a folder with a config.json, safetensors files, or both. The format is told by
/// the content, not by the name.
///
/// Only headers are read, and nothing is allocated that a header merely claims; a file that ends
/// after its header is fine here (`TensorFile::truncated`).
/// @throws SystemError; FormatError; InvalidArgument if it is no regular file or folder.
[[nodiscard]] Model read_model(const std::filesystem::path& path);

TAPEDECK_ABI_END
}  // namespace tapedeck
