// `make_cuda_decoder` in a build without nvcc: none is ever made.

#include "llama/cuda_decoder.hpp"
#include "tapedeck/device/device_error.hpp"

namespace tapedeck::llama {
namespace {

constexpr const char* kWhy = "this build of Tapedeck has no kernels for a GPU";
constexpr const char* kAdvice = "build it where nvcc of the CUDA toolkit is, with TAPEDECK_CUDA";

}  // namespace

std::string cuda_decoder_missing() { return std::string(kWhy) + "; " + kAdvice; }

std::unique_ptr<TalkDecoder> make_cuda_decoder(const LlamaModel& /*model*/,
                                               DeviceModel& /*weights*/, Layout& /*layout*/,
                                               std::size_t /*talk*/,
                                               const CudaDecoderOptions& /*options*/) {
  throw DeviceUnavailable("device", kWhy, kAdvice);
}

}  // namespace tapedeck::llama
