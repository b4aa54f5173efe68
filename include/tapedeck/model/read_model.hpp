// SPDX-License-Identifier: Apache-2.0
/// @file
/// `read_model`: reads what a model's own files state about it, but none of its weights.
#pragma once

#include <filesystem>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Reads the headers of a model. `path` may be a GGUF file (any part of a split one; all parts are
/// read), a safetensors file, a model.safetensors.index.json, a Hugging Face config.json, a
/// llama2.c checkpoint, or a folder with a config.json, safetensors files or a GGUF file. The
/// content determines the format, not the file name.
///
/// Only headers are read, and memory is never allocated for sizes that a header merely claims. A
/// file that ends after its header is accepted; see `TensorFile::truncated`.
/// @throws SystemError; FormatError; InvalidArgument if `path` is neither a regular file nor a
/// folder that holds exactly one model.
/// @code{.cpp}
/// // compile only
/// const tapedeck::Model model = tapedeck::read_model("llama.gguf");
/// if (model.tensors.truncated()) std::cout << "a header without its data\n";
/// std::cout << model.shape.layers.size() << " layers of " << model.shape.architecture << '\n';
/// @endcode
[[nodiscard]] Model read_model(const std::filesystem::path& path);

}  // namespace tapedeck::inline TAPEDECK_ABI
