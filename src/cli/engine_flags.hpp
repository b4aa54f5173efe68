// SPDX-License-Identifier: Apache-2.0
/// @file
/// The options with which another engine runs what `fit` has chosen.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/fit/fit.hpp"
#include "tapedeck/model/model.hpp"

namespace tapedeck::cli {

enum class FlagsOf : std::uint8_t { llama_cpp, vllm };

/// Checks that the engine reads the model's files. llama.cpp reads GGUF files of version 2 or 3.
/// vLLM reads a config.json with safetensors files, and such a GGUF file if it is a single one.
/// @throws InvalidArgument
void require_readable(FlagsOf engine, const Model& model);

/// Whether the engine can run a model in this mode.
[[nodiscard]] bool runs(FlagsOf engine, FitMode mode) noexcept;

/// The options on one line. Only what the choice determines: not the model, nor what an engine
/// lacks or has as its default anyway. The names are those of llama-server and of `vllm serve`.
/// @pre The engine reads the model and runs the choice's mode.
/// @throws InvalidArgument if the engine does not have these types of caches.
[[nodiscard]] std::string engine_flags(FlagsOf engine, const Model& model,
                                       const PlanOptions& options, const FitChoice& choice,
                                       const std::optional<DeviceBudget>& device);

}  // namespace tapedeck::cli
