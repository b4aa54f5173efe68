// SPDX-License-Identifier: Apache-2.0
/// @file
/// Makes models of any shape for demonstrations, tests and benchmarks. Their weights are random, so
/// the text they produce is noise.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <optional>

#include "llama/shape.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::cli {

/// The path of a made model's tokenizer: the model's path with ".tokenizer" appended.
[[nodiscard]] std::filesystem::path tokenizer_beside(const std::filesystem::path& model);

/// The size of a checkpoint's file; nothing if it does not fit in 64 bits.
[[nodiscard]] std::optional<std::uint64_t> checkpoint_bytes(const llama::Shape& shape);

/// Writes a llama2.c checkpoint with random weights to `out`, and its tokenizer to
/// `tokenizer_beside(out)`. The same shape and seed give the same files. Existing files are
/// replaced. On an error, or if stopped, neither file is written.
/// @return false if it was stopped.
/// @throws InvalidArgument for a shape that no model can have, for a vocabulary without room for
/// the byte tokens, or if `out` exists and is not a regular file; SystemError.
[[nodiscard]] bool make_model(const std::filesystem::path& out, const llama::Shape& shape,
                              std::uint64_t seed, const std::atomic<bool>& stop);

}  // namespace tapedeck::cli
