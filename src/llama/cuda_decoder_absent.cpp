// `CudaDecoder` in a build without nvcc: none is ever made.

#include "llama/cuda_decoder.hpp"
#include "tapedeck/device/device_error.hpp"

namespace tapedeck::llama {
namespace {

constexpr const char* kWhy = "this build of Tapedeck has no kernels for a GPU";
constexpr const char* kAdvice = "build it where nvcc of the CUDA toolkit is, with TAPEDECK_CUDA";

[[noreturn]] void throw_absent() { throw DeviceUnavailable("device", kWhy, kAdvice); }

}  // namespace

class CudaDecoder::Step {};

std::string CudaDecoder::missing() { return std::string(kWhy) + "; " + kAdvice; }

CudaDecoder::CudaDecoder(const LlamaModel& model, DeviceModel& /*weights*/, Layout& layout,
                         std::size_t talk, const CudaDecoderOptions& /*options*/)
    : shape_(model.shape()), layout_(layout), talk_(layout.gpu(0).talk(talk)) {
  throw_absent();
}
CudaDecoder::~CudaDecoder() = default;

// No object ever lives to be called.
std::span<float> CudaDecoder::forward(TokenId) { throw_absent(); }

}  // namespace tapedeck::llama
