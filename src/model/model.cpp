#include "tapedeck/model/model.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

const char* to_string(ModelFormat format) noexcept {
  switch (format) {
    case ModelFormat::gguf:
      return "gguf";
    case ModelFormat::safetensors:
      return "safetensors";
    case ModelFormat::config:
      return "config";
    case ModelFormat::llama2c:
      return "llama2c";
  }
  return "?";
}

}  // namespace tapedeck::inline TAPEDECK_ABI
