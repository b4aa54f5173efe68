/// @file
/// The forward pass of a Llama model on a GPU, and how an engine uses the device of a `Layout`.
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
  /// Where all layers stay on the device, a step is captured as a graph, once, and replayed.
  bool graph = true;
};

/// Why this build cannot make a decoder on a GPU, and what to do: for people. Empty where it can;
/// whether there is a GPU, `CudaDevice::support` tells.
[[nodiscard]] std::string cuda_decoder_missing();

/// Makes what decodes one talk of a layout's first device: `Decoder` on a GPU, with the same
/// lifecycle. It computes in the plan's decode buffers, those of the scratch frame that is open, on
/// a stream of its own; the KV cache is the plan's regions "layers.N.k" and "layers.N.v" of the
/// talk. Layers that do not stay on the device come through the slots of `weights`, each while the
/// one before it is computed with. All arguments must outlive the decoder.
///
/// Activations and the KV cache are of the type that they are planned in: f32, as the CPU has them,
/// or f16, half as large. Sums are in f32. f16 holds numbers up to 65504; a model that computes
/// larger ones is for f32.
///
/// A step is put on the stream as a whole, and waited for once: nothing is allocated, mapped or
/// otherwise waited for, but where weights are staged (`LayerStreamer`). Its token and position are
/// copied to where the kernels read them, so that a graph is launched as it was captured. The
/// logits lie in host memory, in f32; the next pass writes over them.
///
/// Of target `tapedeck_cuda_llama`. Built without nvcc, it says so.
///
/// Thread-safety: the thread that made it, on which it keeps the device's context current, and
/// which is the layout's writer and the one that uses `weights`.
///
///     StreamedLlama on_gpu(model, gpu);
///     const auto decoder = make_cuda_decoder(model, on_gpu.weights(), on_gpu.layout());
///     decoder->prepare(1);
///     std::span<float> logits = decoder->forward(kBos);
///     TokenId next = sampler.choose(logits);
///     decoder->clear_pass();
///
/// @pre `weights` are the model's, on the layout's device.
/// @throws InvalidArgument where there is no such talk, the layout has no device or that is no GPU,
/// or its plan has no K and V of some layer, too little room for a step of this model among its
/// decode buffers, or buffers that are neither f32 nor f16; DeviceError, as does `forward`;
/// DeviceUnavailable in a build without nvcc.
[[nodiscard]] std::unique_ptr<TalkDecoder> make_cuda_decoder(
    const LlamaModel& model, DeviceModel& weights, Layout& layout, std::size_t talk = 0,
    const CudaDecoderOptions& options = {});

}  // namespace tapedeck::llama
