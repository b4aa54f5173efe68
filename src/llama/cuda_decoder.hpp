// SPDX-License-Identifier: Apache-2.0
/// @file
/// The forward pass of a Llama model on a GPU, and an example of how an engine uses the device of a
/// `Layout`.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "llama/device_model.hpp"
#include "llama/llama_model.hpp"
#include "llama/talk_decoder.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"

namespace tapedeck::llama {

struct CudaDecoderOptions {
  /// If all layers are resident on the device, captures a step once as a graph, and replays it.
  bool graph = true;
};

/// A text that explains why this build cannot make a GPU decoder, and what to do. Empty if it can.
/// `CudaDevice::support` reports whether the host has a GPU.
[[nodiscard]] std::string cuda_decoder_missing();

/// Makes a decoder for one talk on a layout's first device. It is a GPU version of `Decoder` with
/// the same lifecycle. It computes on a stream of its own in the plan's decode buffers, in the open
/// scratch frame; the KV cache is the talk's regions "layers.N.k" and "layers.N.v". Layers that are
/// not resident on the device are streamed through the slots of `weights`, each while the previous
/// one computes. All arguments must outlive the decoder.
///
/// Activations and the KV cache have the type they are planned in: f32, as on the CPU, or f16,
/// which takes half the memory. Sums are in f32. f16 holds numbers up to 65504; use f32 for a model
/// that computes larger ones.
///
/// A step is put on the stream as a whole and waited for once. It allocates and maps nothing, and
/// waits for nothing else unless weights are staged (`LayerStreamer`). Its token and position are
/// copied to device memory that the kernels read, so that a captured graph is launched unchanged.
/// The logits are in host memory, in f32; the next pass overwrites them.
///
/// Part of the target `tapedeck_cuda_llama`. In a build without nvcc it throws DeviceUnavailable.
///
/// Thread-safety: used by the thread that made it, which must be the layout's writer and the user
/// of `weights`. The decoder keeps the device's context current on it.
///
///     StreamedLlama on_gpu(model, gpu);
///     const auto decoder = make_cuda_decoder(model, on_gpu.weights(), on_gpu.layout());
///     decoder->prepare(1);
///     std::span<float> logits = decoder->forward(kBos);
///     TokenId next = sampler.choose(logits);
///     decoder->clear_pass();
///
/// @pre `weights` are the model's, on the layout's device.
/// @throws InvalidArgument if the layout has no such talk or no GPU, if its plan lacks the K or V
/// cache of a layer, or if its decode buffers are too small for this model or neither f32 nor f16;
/// DeviceError, which `forward` throws as well; DeviceUnavailable in a build without nvcc.
[[nodiscard]] std::unique_ptr<TalkDecoder> make_cuda_decoder(
    const LlamaModel& model, DeviceModel& weights, Layout& layout, std::size_t talk = 0,
    const CudaDecoderOptions& options = {});

}  // namespace tapedeck::llama
