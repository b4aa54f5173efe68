/// @file
/// Makes models of any shape, for demonstrations, tests and benchmarks. Their text is noise.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <optional>

#include "llama/shape.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::cli {

/// Where a made model's tokenizer lies: beside it.
[[nodiscard]] std::filesystem::path tokenizer_beside(const std::filesystem::path& model);

/// Of a checkpoint; nothing where they do not fit.
[[nodiscard]] std::optional<std::uint64_t> checkpoint_bytes(const llama::Shape& shape);

/// Writes a llama2.c checkpoint with random weights, and its tokenizer to `tokenizer_beside(out)`:
/// the same for the same shape and seed. Files of these names are replaced. Both are there in the
/// end or, on any error or when stopped, neither is.
/// @return false if it was stopped.
/// @throws InvalidArgument for a shape no model can have, a vocabulary without room for the byte
/// tokens, or a name that something else than a file has; SystemError.
[[nodiscard]] bool make_model(const std::filesystem::path& out, const llama::Shape& shape,
                              std::uint64_t seed, const std::atomic<bool>& stop);

}  // namespace tapedeck::cli
