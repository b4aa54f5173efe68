/// @file
/// `read_model`: reads what a model's own files say of it, and none of its weights.
#pragma once

#include <filesystem>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Reads the headers of a model: a GGUF file (with all parts of a split one, from any of them), a
/// safetensors file, a model.safetensors.index.json, a Hugging Face config.json, a llama2.c
/// checkpoint, or a folder with a config.json, safetensors files, or both. The format is told by
/// the content, not by the name.
///
/// Only headers are read, and nothing is allocated that a header merely claims; a file that ends
/// after its header is fine here (`TensorFile::truncated`).
/// @throws SystemError; FormatError; InvalidArgument if it is no regular file or folder.
/// @code{.cpp}
/// // compile only
/// const tapedeck::Model model = tapedeck::read_model("llama.gguf");
/// if (model.tensors.truncated()) std::cout << "a header without its data\n";
/// std::cout << model.shape.layers.size() << " layers of " << model.shape.architecture << '\n';
/// @endcode
[[nodiscard]] Model read_model(const std::filesystem::path& path);

}  // namespace tapedeck::inline TAPEDECK_ABI
