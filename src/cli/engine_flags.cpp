// SPDX-License-Identifier: Apache-2.0
#include "cli/engine_flags.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "tapedeck/base/error.hpp"

namespace tapedeck::cli {
namespace {

// Source: the allowed values of --cache-type-k in llama-server's help.
constexpr std::array kLlamaCppTypes = {DType::f32,    DType::f16,  DType::bf16,
                                       DType::q8_0,   DType::q4_0, DType::q4_1,
                                       DType::iq4_nl, DType::q5_0, DType::q5_1};
// Source: --kv-cache-dtype in vLLM's engine arguments. Its default is the type of the model, which
// takes as much as one of these two.
constexpr std::array kVllmTypes = {DType::f16, DType::bf16, DType::f8_e4m3, DType::f8_e5m2};

void require_type(const char* engine, std::span<const DType> types, DType type) {
  if (std::ranges::find(types, type) != types.end()) return;
  throw InvalidArgument({.argument = "--kv"},
                        fmt::format("{} has no caches of type {}", engine, to_string(type)),
                        "choose another type with --kv");
}

std::string llama_cpp_flags(const Model& model, const PlanOptions& options,
                            const FitChoice& choice) {
  require_type("llama.cpp", kLlamaCppTypes, options.key_type);
  require_type("llama.cpp", kLlamaCppTypes, options.value_type);
  const std::uint64_t context =
      options.total_context != 0 ? options.total_context : model.shape.context;
  // The layer after the last one is the output.
  const std::uint64_t layers = choice.mode == FitMode::host_only
                                   ? 0
                                   : model.shape.layers.size() + model.shape.draft_layers + 1;
  return fmt::format(
      "--ctx-size {} --parallel {}{} --batch-size {} --ubatch-size {} --cache-type-k {} "
      "--cache-type-v {} --flash-attn {}{} --gpu-layers {}",
      context, options.sequences, options.unified ? " --kv-unified" : "", options.batch,
      options.micro_batch, to_string(options.key_type), to_string(options.value_type),
      options.flash_attention ? "on" : "off", options.full_window_cache ? " --swa-full" : "",
      layers);
}

std::string vllm_flags(const Model& model, const PlanOptions& options,
                       const std::optional<DeviceBudget>& device) {
  require_type("vLLM", kVllmTypes, options.key_type);
  if (options.key_type != options.value_type) {
    throw InvalidArgument({.argument = "--kv"}, "vLLM has one type for K and V",
                          "give one type with --kv");
  }
  const bool narrow = traits(options.key_type).block_bytes == 1;
  std::string flags = fmt::format(
      "--max-model-len {} --max-num-seqs {} --max-num-batched-tokens {}{}",
      make_plan(model, options).context_per_talk, options.sequences, options.micro_batch,
      narrow ? fmt::format(" --kv-cache-dtype fp8_{}",
                           options.key_type == DType::f8_e4m3 ? "e4m3" : "e5m2")
             : "");
  // A share of the whole device, whose size is not known if only its free memory is.
  if (device && device->total != 0) {
    const double share = static_cast<double>(device->free) / static_cast<double>(device->total);
    flags += fmt::format(" --gpu-memory-utilization {:.2f}", std::floor(100 * share) / 100);
  }
  return flags;
}

[[noreturn]] void throw_unreadable(FlagsOf engine, const std::string& what, const char* advice) {
  throw InvalidArgument(
      {.argument = "--print-flags"},
      fmt::format("{} does not read {}", engine == FlagsOf::llama_cpp ? "llama.cpp" : "vLLM", what),
      advice);
}

}  // namespace

// Sources: gguf_init_from_file of llama.cpp, gguf_reader.py of its Python package, which vLLM uses,
// and the page "GGUF" of vLLM's documentation.
void require_readable(FlagsOf engine, const Model& model) {
  const bool llama_cpp = engine == FlagsOf::llama_cpp;
  if (model.format == ModelFormat::llama2c) {
    throw_unreadable(engine, "files of llama2.c",
                     llama_cpp ? "fit the model's GGUF file" : "fit the model's config.json");
  }
  if (model.format != ModelFormat::gguf) {
    if (!llama_cpp) return;
    throw_unreadable(engine,
                     model.format == ModelFormat::config ? "a config.json" : "safetensors files",
                     "convert the model (convert_hf_to_gguf.py), and fit the GGUF file");
  }
  if (model.version < 2) {
    throw_unreadable(engine, "GGUF files of version 1", "convert the model again");
  }
  if (!llama_cpp && model.tensors.files().size() > 1) {
    throw_unreadable(engine, "GGUF models of several files",
                     "merge them (llama-gguf-split --merge)");
  }
}

// llama.cpp splits a model as well, but from its end, and counts the output as a layer.
bool runs(FlagsOf engine, FitMode mode) noexcept {
  return mode == FitMode::full_cache ||
         (engine == FlagsOf::llama_cpp && mode == FitMode::host_only);
}

std::string engine_flags(FlagsOf engine, const Model& model, const PlanOptions& options,
                         const FitChoice& choice, const std::optional<DeviceBudget>& device) {
  return engine == FlagsOf::llama_cpp ? llama_cpp_flags(model, options, choice)
                                      : vllm_flags(model, options, device);
}

}  // namespace tapedeck::cli
