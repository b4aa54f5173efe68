// SPDX-License-Identifier: Apache-2.0
// `make_cuda_decoder` in a build without nvcc: it always throws.

#include "llama/cuda_decoder.hpp"
#include "tapedeck/device/device_error.hpp"

namespace tapedeck::llama {
namespace {

constexpr const char* kWhy = "this build of Tapedeck has no GPU kernels";
constexpr const char* kAdvice =
    "build it with TAPEDECK_CUDA on a machine that has the CUDA toolkit's nvcc";

}  // namespace

std::string cuda_decoder_missing() { return std::string(kWhy) + "; " + kAdvice; }

std::unique_ptr<TalkDecoder> make_cuda_decoder(const LlamaModel& /*model*/,
                                               DeviceModel& /*weights*/, Layout& /*layout*/,
                                               std::size_t /*talk*/,
                                               const CudaDecoderOptions& /*options*/) {
  throw DeviceUnavailable("device", kWhy, kAdvice);
}

}  // namespace tapedeck::llama
